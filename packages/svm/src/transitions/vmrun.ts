import {
  GUEST_MODE,
  INTERRUPTIBILITY,
  machineCheckAtEntry,
  PENDING_EVENTS,
  PendingEvent,
  RIP,
  recentNs,
  SECOND_STAGE_VECTOR,
  Shadow,
  updateModeBits,
  word,
} from '@nestvm/cpu/extension';
import { Stage } from '@nestvm/mmu';
import type { VmrunView } from '../checks/view.js';
import type { SvmContext } from '../context.js';
import { ExitCode } from '../exits/codes.js';
import { lendMsrMap } from '../intercepts/permission-maps.js';
import { NestedControl, TlbControl, Vmcb } from '../vmcb/layout.js';
import { HOST_CR0, HOST_CR4, HOST_EFER, PAUSE_COUNT, VMCB_ADDRESS } from '../words.js';
import { loadBranches } from './branches.js';
import { guestModeOf } from './guest-mode.js';
import { loadGuest } from './guest-state.js';
import { hostPaging, hostSpaceModes } from './host-paging.js';
import { saveHost } from './host-state.js';
import { injectFromVmcb } from './inject.js';
import { changeWorld, vmexit, vmexitInvalid } from './vmexit.js';

const CR0 = word('cr0');
const CR4 = word('cr4');
const EFER = word('efer');
const CR0_PG = 1 << 31;
const CR4_PAE = 1 << 5;
const EFER_LMA = 1 << 10;
const SECOND_STAGE_FAULT = 2;
/** The registers that decide how nested tables are read, and where the host's are while the guest's are in force. */
const PAGING_WORDS = [
  [CR0, HOST_CR0],
  [CR4, HOST_CR4],
  [EFER, HOST_EFER],
] as const;

/** Describes the guest's address space to the MMU. Nested tables have the format of the host's own, so this looks at the host's registers. */
function describeSpace(svm: SvmContext, v: number): void {
  const { i32, space } = svm;
  space.tag = i32[v + Vmcb.ASID]! >>> 0;
  if ((i32[v + Vmcb.NESTED_CONTROL]! & NestedControl.NP_ENABLE) === 0) {
    space.stage = Stage.NONE;
    space.root = 0;
    space.modes = 0;
    return;
  }
  space.stage = Stage.NPT;
  space.paging = hostPaging(svm);
  space.modes = hostSpaceModes(svm);
  space.root = nestedRoot(svm, v);
}

/** NCR3 without its flags. */
function nestedRoot(svm: SvmContext, v: number): number {
  const lo = svm.i32[v + Vmcb.NCR3]!;
  const { w } = svm.cpu;
  if ((w[EFER]! & EFER_LMA) !== 0) return (svm.i32[v + Vmcb.NCR3 + 1]! >>> 0) * 4294967296 + ((lo & ~0xfff) >>> 0);
  return ((w[CR4]! & CR4_PAE) !== 0 ? lo & ~0x1f : lo & ~0xfff) >>> 0;
}

function controlTlb(svm: SvmContext, v: number): void {
  const { mmu, space } = svm;
  switch (svm.i32[v + Vmcb.TLB_CONTROL]! & 0xff) {
    case TlbControl.ALL:
      mmu.invalidateAllTags(true);
      break;
    case TlbControl.GUEST:
      mmu.invalidateTag(space.tag);
      break;
    case TlbControl.GUEST_NON_GLOBAL:
      mmu.invalidateTagNonGlobal(space.tag);
      break;
  }
}

/** Notes the entry for the ledger and the counters. */
function note(svm: SvmContext): void {
  const { cpu, ledger, space } = svm;
  const { w } = cpu;
  const context = ledger.at((w[VMCB_ADDRESS + 1]! >>> 0) * 4294967296 + (w[VMCB_ADDRESS]! >>> 0));
  context.launched = true;
  context.activeOn = cpu.index;
  context.entries++;
  context.lastEntryNs = recentNs(cpu.clock);
  context.root = space.root;
  context.tag = space.tag;
  svm.counters.entries++;
}

/** Loads the page-directory pointers that PAE paging keeps; false: the exit that this caused is made. */
function loadPdptes(svm: SvmContext): boolean {
  const { cpu, mmu } = svm;
  const { w } = cpu;
  const pae = (w[CR0]! & CR0_PG) !== 0 && (w[CR4]! & CR4_PAE) !== 0 && (w[EFER]! & EFER_LMA) === 0;
  if (!pae || mmu.loadPdptes()) return true;
  if (mmu.fault === SECOND_STAGE_FAULT && svm.space.stage !== Stage.NONE) {
    cpu.raise(SECOND_STAGE_VECTOR);
    cpu.virtualization?.secondStageFault(cpu);
  } else vmexit(svm, ExitCode.INVALID);
  return false;
}

/**
 * The world switch of VMRUN, after the instruction's own checks: `v` is the VMCB's first word, whose physical address is in `lo`/`hi`; the host goes on at
 * `nextLo`/`nextHi` after the exit.
 */
export function enterGuest(svm: SvmContext, view: VmrunView, v: number, lo: number, hi: number, nextLo: number, nextHi: number): void {
  const { cpu } = svm;
  const { w } = cpu;
  svm.vmcb = v;
  view.v = v;
  w[VMCB_ADDRESS] = lo;
  w[VMCB_ADDRESS + 1] = hi;
  saveHost(svm, nextLo, nextHi);
  if (!view.isConsistent()) {
    cpu.virtualization?.onFailedEntry?.(cpu);
    w[RIP] = nextLo;
    w[RIP + 1] = nextHi;
    vmexitInvalid(svm);
    return;
  }
  describeSpace(svm, v);
  svm.avic.enter(v);
  loadControls(svm, v);
  loadGuest(svm, v);
  loadBranches(svm, v);
  w[GUEST_MODE] = guestModeOf(svm);
  lendMsrMap(svm);
  w[INTERRUPTIBILITY] = w[INTERRUPTIBILITY]! & ~Shadow.GIF;
  updateModeBits(cpu);
  svm.mmu.enterGuest(svm.space);
  controlTlb(svm, v);
  changeWorld(svm);
  note(svm);
  // SVM has no failure for it: the machine check comes behind VMRUN, in the guest.
  if (machineCheckAtEntry(cpu)) w[PENDING_EVENTS] = w[PENDING_EVENTS]! | PendingEvent.MACHINE_CHECK;
  if (loadPdptes(svm)) injectFromVmcb(svm);
}

/** Guest mode again, after the state of a vCPU in it and its memory were loaded: what VMRUN takes from the VMCB and from the host's registers is taken anew. */
export function resumeGuest(svm: SvmContext): void {
  const { w } = svm.cpu;
  const v = svm.page(w[VMCB_ADDRESS]!, w[VMCB_ADDRESS + 1]!);
  if (v < 0) return;
  svm.vmcb = v;
  const guest = PAGING_WORDS.map(([own]) => w[own]!);
  for (const [own, host] of PAGING_WORDS) w[own] = w[host]!;
  describeSpace(svm, v);
  PAGING_WORDS.forEach(([own], i) => (w[own] = guest[i]!));
  w[GUEST_MODE] = guestModeOf(svm);
  lendMsrMap(svm);
  svm.avic.enter(v);
  svm.tscOffsetLo = svm.i32[v + Vmcb.TSC_OFFSET]!;
  svm.tscOffsetHi = svm.i32[v + Vmcb.TSC_OFFSET + 1]!;
  svm.mmu.enterGuest(svm.space);
  note(svm);
}

/** What the processor keeps of the control area by itself. */
function loadControls(svm: SvmContext, v: number): void {
  const { i32 } = svm;
  svm.tscOffsetLo = i32[v + Vmcb.TSC_OFFSET]!;
  svm.tscOffsetHi = i32[v + Vmcb.TSC_OFFSET + 1]!;
  svm.cpu.w[PAUSE_COUNT] = i32[v + Vmcb.PAUSE_FILTER]! >>> 16;
}
