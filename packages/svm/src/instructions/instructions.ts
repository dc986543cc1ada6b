import { Outcome, type Vcpu } from '@nestvm/cpu';
import { CPL, EFER, GPR, GUEST_MODE, INTERRUPTIBILITY, isCanonical, MODE, RIP, SECOND_STAGE_VECTOR, Shadow } from '@nestvm/cpu/extension';
import { Efer, Mode, type SensitiveEvent, Vector } from '@nestvm/isa';
import type { VmrunView } from '../checks/view.js';
import type { SvmContext } from '../context.js';
import { enterGuest } from '../transitions/vmrun.js';
import { IntControl, VirtualExtension, Vmcb } from '../vmcb/layout.js';
import { HSAVE } from '../words.js';
import { loadHidden, saveHidden } from './vmload.js';

const NESTED_FAULT = -2;

type Insn = Parameters<NonNullable<Vcpu['extensionInstructions'][string]>>[1];

/** The checks that all SVM instructions share; the outcome when they fail or are intercepted, -1 when the instruction may run. */
function begin(svm: SvmContext, insn: Insn, event: SensitiveEvent): Outcome | -1 {
  const { cpu } = svm;
  const { w } = cpu;
  if ((w[EFER]! & Efer.SVME) === 0 || (w[MODE]! & Mode.PROTECTED) === 0) return cpu.raise(Vector.UD);
  if (w[CPL] !== 0) return cpu.raise(Vector.GP, 0);
  return cpu.intercepted(event, insn.length) ? Outcome.JUMPED : -1;
}

/** First word of the page that rAX (of the address size) points to, or -1. */
function operandPage(svm: SvmContext, insn: Insn): number {
  const { w } = svm.cpu;
  const lo = insn.addressSize === 16 ? w[GPR]! & 0xffff : w[GPR]!;
  return svm.page(lo, insn.addressSize === 64 ? w[GPR + 1]! : 0);
}

function vmrun(svm: SvmContext, view: VmrunView, insn: Insn): Outcome {
  const { cpu } = svm;
  const { w } = cpu;
  const begun = begin(svm, insn, 'VMRUN');
  if (begun !== -1) return begun;
  const v = operandPage(svm, insn);
  if (v < 0 || (w[HSAVE]! | w[HSAVE + 1]!) === 0) return cpu.raise(Vector.GP, 0);
  const long = (w[MODE]! & Mode.LONG) !== 0;
  const nextLo = (w[RIP]! + insn.length) | 0;
  const nextHi = long ? w[RIP + 1]! + (nextLo >>> 0 < insn.length ? 1 : 0) : 0;
  const lo = insn.addressSize === 16 ? w[GPR]! & 0xffff : w[GPR]!;
  enterGuest(svm, view, v, lo, insn.addressSize === 64 ? w[GPR + 1]! : 0, nextLo, nextHi);
  return Outcome.JUMPED;
}

/** Whether VMLOAD and VMSAVE of the guest are virtualized: their address is the guest's own and passes the nested tables. */
const isVirtualized = (svm: SvmContext): boolean =>
  svm.cpu.w[GUEST_MODE] !== 0 && svm.features.virtualVmload && (svm.i32[svm.vmcb + Vmcb.VIRTUAL_EXTENSIONS]! & VirtualExtension.VMLOAD_VMSAVE) !== 0;

/** First word of the page behind the guest-physical address in rAX; -1: not a page of memory, {@link NESTED_FAULT}: the nested tables refuse. */
function virtualPage(svm: SvmContext, insn: Insn, write: boolean): number {
  const { cpu } = svm;
  const { w } = cpu;
  const lo = insn.addressSize === 16 ? w[GPR]! & 0xffff : w[GPR]!;
  const hi = insn.addressSize === 64 ? w[GPR + 1]! : 0;
  if ((lo & 0xfff) !== 0 || (hi & ~cpu.features.physicalHighMask) !== 0) return -1;
  const physical = svm.mmu.guestPhysicalToPhysical((hi >>> 0) * 4294967296 + (lo >>> 0), write);
  if (physical < 0) {
    cpu.raise(SECOND_STAGE_VECTOR);
    return NESTED_FAULT;
  }
  const offset = svm.memory.arenaOffsetOf(physical);
  return offset < 0 ? -1 : offset >>> 2;
}

function vmloadSave(svm: SvmContext, insn: Insn, event: 'VMLOAD' | 'VMSAVE'): Outcome {
  const { cpu } = svm;
  const begun = begin(svm, insn, event);
  if (begun !== -1) return begun;
  const page = isVirtualized(svm) ? virtualPage(svm, insn, event === 'VMSAVE') : operandPage(svm, insn);
  if (page === NESTED_FAULT) return Outcome.FAULT;
  if (page < 0) return cpu.raise(Vector.GP, 0);
  if (event === 'VMLOAD') loadHidden(svm, page);
  else if (svm.memory.beforeWrite(page * 4, 4096)) saveHidden(svm, page);
  return Outcome.NEXT;
}

function setGif(svm: SvmContext, insn: Insn, on: boolean): Outcome {
  const { cpu } = svm;
  const { w } = cpu;
  const begun = begin(svm, insn, on ? 'STGI' : 'CLGI');
  if (begun !== -1) return begun;
  if (w[GUEST_MODE] !== 0 && svm.features.vgif && (svm.i32[svm.vmcb + Vmcb.INT_CONTROL]! & IntControl.V_GIF_ENABLE) !== 0) {
    const at = svm.vmcb + Vmcb.INT_CONTROL;
    svm.i32[at] = on ? svm.i32[at]! | IntControl.V_GIF : svm.i32[at]! & ~IntControl.V_GIF;
  } else w[INTERRUPTIBILITY] = on ? w[INTERRUPTIBILITY]! & ~Shadow.GIF : w[INTERRUPTIBILITY]! | Shadow.GIF;
  if (on) cpu.attention = 1;
  return Outcome.NEXT;
}

/** Invalidates the page at rAX in the ASID in ECX. */
function invlpga(svm: SvmContext, insn: Insn): Outcome {
  const { cpu, mmu } = svm;
  const { w } = cpu;
  const begun = begin(svm, insn, 'INVLPGA');
  if (begun !== -1) return begun;
  const lo = insn.addressSize === 16 ? w[GPR]! & 0xffff : w[GPR]!;
  const hi = insn.addressSize === 64 ? w[GPR + 1]! : 0;
  if (isCanonical(cpu, hi)) mmu.invalidateTagPage(w[GPR + 2]! >>> 0, lo, hi);
  return Outcome.NEXT;
}

/** VMMCALL means nothing to the processor: an exit, or #UD (APM Vol. 3, VMMCALL). */
function vmmcall(svm: SvmContext, insn: Insn): Outcome {
  const { cpu } = svm;
  return cpu.intercepted('VMMCALL', insn.length) ? Outcome.JUMPED : cpu.raise(Vector.UD);
}

/** SKINIT can be intercepted; past that it is #UD, since there is no TPM to measure the loader into. */
function skinit(svm: SvmContext, insn: Insn): Outcome {
  const begun = begin(svm, insn, 'SKINIT');
  return begun === -1 ? svm.cpu.raise(Vector.UD) : begun;
}

/** Gives the vCPU the instructions of SVM. `onRefusal`: told of those that fault in the host. */
export function installInstructions(svm: SvmContext, view: VmrunView, onRefusal: (insn: Insn) => void): void {
  const table: Record<string, (cpu: Vcpu, insn: Insn) => Outcome> = {};
  table.VMRUN = (_cpu, insn) => vmrun(svm, view, insn);
  table.VMLOAD = (_cpu, insn) => vmloadSave(svm, insn, 'VMLOAD');
  table.VMSAVE = (_cpu, insn) => vmloadSave(svm, insn, 'VMSAVE');
  table.STGI = (_cpu, insn) => setGif(svm, insn, true);
  table.CLGI = (_cpu, insn) => setGif(svm, insn, false);
  table.INVLPGA = (_cpu, insn) => invlpga(svm, insn);
  table.SKINIT = (_cpu, insn) => skinit(svm, insn);
  table.VMMCALL = (_cpu, insn) => vmmcall(svm, insn);
  for (const [mnemonic, meaning] of Object.entries(table))
    svm.cpu.extensionInstructions[mnemonic] = (cpu, insn) => {
      const outcome = meaning(cpu, insn);
      if (outcome === Outcome.FAULT && cpu.w[GUEST_MODE] === 0) onRefusal(insn);
      return outcome;
    };
}
