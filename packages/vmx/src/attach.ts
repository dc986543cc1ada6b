import type { Vcpu } from '@nestvm/cpu';
import { CPL, FAULT_VECTOR, Outcome, SYSTEM_INSTRUCTIONS, word } from '@nestvm/cpu/extension';
import { Vector } from '@nestvm/isa';
import { capabilityMsrs } from './capabilities/msrs.js';
import { Proc2, Proc3 } from './controls/controls.js';
import { VmxExtension } from './extension.js';
import { inNonRoot } from './instructions/exits.js';
import { vmxInstructions } from './instructions/index.js';
import { refused } from './instructions/results.js';
import type { Vmx, VmxOptions } from './vmx.js';

const FEATURE_CONTROL = word('featureControl');
const LOCK = 1;
/** Locked, VMX outside of SMX. */
const LOCKED_WITH_VMX = 5;
const CR0_PE_PG = 0x80000001 | 0;

/** CR0 and CR4 in VMX operation: the fixed bits, but for PE and PG of an unrestricted guest. */
function allows(vmx: Vmx, register: 0 | 4, value: number): boolean {
  if (!vmx.on) return true;
  const c = vmx.capabilities;
  if (register === 4) return (value & c.cr4Fixed0) === c.cr4Fixed0 && (value & ~c.cr4Fixed1) === 0;
  const unrestricted = inNonRoot(vmx.cpu) && vmx.controls.hasProc2(Proc2.UNRESTRICTED_GUEST);
  const must = unrestricted ? c.cr0Fixed0 & ~CR0_PE_PG : c.cr0Fixed0;
  return (value & must) === must && (value & ~c.cr0Fixed1) === 0;
}

const secondary =
  (control: number) =>
  (vmx: Vmx): boolean =>
    vmx.controls.hasProc2(control);
const hasMsrLists = (vmx: Vmx): boolean => vmx.controls.hasProc3(Proc3.ENABLE_MSRLIST);

/** Instructions that are #UD in non-root operation before all else, unless a control enables them. */
const ENABLED_BY: Readonly<Record<string, (vmx: Vmx) => boolean>> = {
  RDPID: secondary(Proc2.ENABLE_RDTSCP),
  TPAUSE: secondary(Proc2.ENABLE_USER_WAIT),
  UMONITOR: secondary(Proc2.ENABLE_USER_WAIT),
  UMWAIT: secondary(Proc2.ENABLE_USER_WAIT),
  RDMSRLIST: hasMsrLists,
  WRMSRLIST: hasMsrLists,
};

/** #UD and #GP of an instruction of VMX in the hypervisor are worth an explanation; page faults are not. */
function noteFault(vmx: Vmx): void {
  const { w } = vmx.cpu;
  if (!inNonRoot(vmx.cpu) && (w[FAULT_VECTOR] === Vector.UD || w[FAULT_VECTOR] === Vector.GP)) refused(vmx, -1);
}

/** Plugs VMX into a vCPU: MSRs, instructions, guards of CR0 and CR4, and the port through which non-root operation is entered and left. */
export function attachVmx(cpu: Vcpu, options: VmxOptions): VmxExtension {
  const vmx = new VmxExtension(cpu, options);
  cpu.virtualization = vmx;
  cpu.controlGuard = (register, value) => allows(vmx, register, value);
  cpu.msrs.define({
    index: 0x3a,
    name: 'IA32_FEATURE_CONTROL',
    home: 'featureControl',
    mask: [LOCKED_WITH_VMX | 2, 0],
    reset: [options.locked === false ? 0 : LOCKED_WITH_VMX, 0],
    allow: () => (cpu.w[FEATURE_CONTROL]! & LOCK) === 0,
  });
  for (const { index, name, lo, hi } of capabilityMsrs(vmx.capabilities)) {
    const value = [lo, hi] as const;
    cpu.msrs.define({ index, name, constant: () => value });
  }
  for (const [mnemonic, meaning] of Object.entries(vmxInstructions))
    cpu.extensionInstructions[mnemonic] = (_cpu, insn) => {
      const outcome = meaning(vmx, insn);
      if (outcome === Outcome.FAULT && vmx.onRefusal !== null) noteFault(vmx);
      return outcome;
    };
  for (const [mnemonic, isOn] of Object.entries(ENABLED_BY))
    cpu.extensionInstructions[mnemonic] = (_cpu, insn) => {
      if (inNonRoot(cpu) && !isOn(vmx)) return cpu.raise(Vector.UD);
      return insn.row.cpl0 && cpu.w[CPL] !== 0 ? cpu.raise(Vector.GP, 0) : SYSTEM_INSTRUCTIONS[mnemonic]!(cpu, insn);
    };
  return vmx;
}
