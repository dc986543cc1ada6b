import { CR0, CR4, type Instruction, Outcome, word } from '@nestvm/cpu/extension';
import { Cr4 } from '@nestvm/isa';
import { VmxWord } from '../state.js';
import { ExitReason } from '../transitions/reasons.js';
import type { Vmx } from '../vmx.js';
import { exitWithOperand, exitWithoutOperand, inNonRoot } from './exits.js';
import { readPhysicalPointer } from './operand.js';
import { fail, failInvalid, InstructionError, isPrivileged, isUndefinedHere, protection, succeed, undefinedOpcode } from './results.js';

const FEATURE_CONTROL = word('featureControl');
/** IA32_FEATURE_CONTROL: locked, and VMX outside of SMX. */
const ENABLED = 5;

/** What CR0 and CR4 must have in VMX operation. */
function areControlsAllowed(vmx: Vmx): boolean {
  const { w } = vmx.cpu;
  const c = vmx.capabilities;
  return (
    (w[CR0]! & c.cr0Fixed0) === c.cr0Fixed0 &&
    (w[CR0]! & ~c.cr0Fixed1) === 0 &&
    (w[CR4]! & c.cr4Fixed0) === c.cr4Fixed0 &&
    (w[CR4]! & ~c.cr4Fixed1) === 0
  );
}

/** Enters VMX operation (SDM Vol. 3, VMXON). */
export function VMXON(vmx: Vmx, insn: Readonly<Instruction>): Outcome {
  const { cpu } = vmx;
  const { w } = cpu;
  if ((w[CR4]! & Cr4.VMXE) === 0 || isUndefinedHere(cpu)) return undefinedOpcode(cpu);
  if (inNonRoot(cpu)) return exitWithOperand(vmx, ExitReason.VMXON, insn, 0);
  if (!isPrivileged(cpu)) return protection(cpu);
  if (vmx.on) return fail(vmx, InstructionError.VMXON_IN_ROOT);
  if (!areControlsAllowed(vmx) || (w[FEATURE_CONTROL]! & ENABLED) !== ENABLED) return protection(cpu);
  const address = readPhysicalPointer(vmx, insn);
  if (address === -1) return Outcome.FAULT;
  if (address < 0 || vmx.memory.read32(address) >>> 0 !== vmx.capabilities.revision >>> 0) return failInvalid(vmx);
  w[VmxWord.ON] = 1;
  w[VmxWord.SESSION] = (w[VmxWord.SESSION]! + 1) & 0x7fff_ffff || 1;
  w[VmxWord.VMXON_POINTER] = address | 0;
  w[VmxWord.VMXON_POINTER + 1] = (address / 4294967296) | 0;
  vmx.setCurrent(-1);
  return succeed(cpu);
}

/** Leaves VMX operation (SDM Vol. 3, VMXOFF). */
export function VMXOFF(vmx: Vmx, insn: Readonly<Instruction>): Outcome {
  const { cpu } = vmx;
  if (!vmx.on || isUndefinedHere(cpu)) return undefinedOpcode(cpu);
  if (inNonRoot(cpu)) return exitWithoutOperand(vmx, ExitReason.VMXOFF, insn);
  if (!isPrivileged(cpu)) return protection(cpu);
  vmx.setCurrent(-1);
  cpu.w[VmxWord.ON] = 0;
  // An INIT that waited is taken now.
  cpu.requestAttention();
  return succeed(cpu);
}
