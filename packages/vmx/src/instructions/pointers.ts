import { dataAddress, type Instruction, Outcome, writeLinear } from '@nestvm/cpu/extension';
import { noteClear } from '../activity.js';
import { Proc2 } from '../controls/controls.js';
import { VmcsHeader } from '../fields/layout.js';
import { addressAt, VmxWord } from '../state.js';
import { ExitReason } from '../transitions/reasons.js';
import type { Vmx } from '../vmx.js';
import { exitWithOperand, inNonRoot } from './exits.js';
import { readPhysicalPointer } from './operand.js';
import { fail, InstructionError, isPrivileged, isUndefinedHere, protection, succeed, undefinedOpcode } from './results.js';

const SHADOW_INDICATOR = 1 << 31;

/** Makes a VMCS clear and inactive (SDM Vol. 3, VMCLEAR). */
export function VMCLEAR(vmx: Vmx, insn: Readonly<Instruction>): Outcome {
  const { cpu } = vmx;
  if (!vmx.on || isUndefinedHere(cpu)) return undefinedOpcode(cpu);
  if (inNonRoot(cpu)) return exitWithOperand(vmx, ExitReason.VMCLEAR, insn, 0);
  if (!isPrivileged(cpu)) return protection(cpu);
  const address = readPhysicalPointer(vmx, insn);
  if (address === -1) return Outcome.FAULT;
  if (address < 0) return fail(vmx, InstructionError.VMCLEAR_ADDRESS);
  if (address === addressAt(cpu.w, VmxWord.VMXON_POINTER)) return fail(vmx, InstructionError.VMCLEAR_VMXON_POINTER);
  const region = vmx.wordsAt(address);
  vmx.touch(region);
  vmx.i32[region + VmcsHeader.LAUNCHED] = 0;
  vmx.i32[region + VmcsHeader.CLEAN_GROUPS] = 0;
  noteClear(vmx, address);
  if (address === vmx.regionAddress) vmx.setCurrent(-1);
  return succeed(cpu);
}

/** Makes a VMCS current (SDM Vol. 3, VMPTRLD). */
export function VMPTRLD(vmx: Vmx, insn: Readonly<Instruction>): Outcome {
  const { cpu, capabilities } = vmx;
  if (!vmx.on || isUndefinedHere(cpu)) return undefinedOpcode(cpu);
  if (inNonRoot(cpu)) return exitWithOperand(vmx, ExitReason.VMPTRLD, insn, 0);
  if (!isPrivileged(cpu)) return protection(cpu);
  const address = readPhysicalPointer(vmx, insn);
  if (address === -1) return Outcome.FAULT;
  if (address < 0) return fail(vmx, InstructionError.VMPTRLD_ADDRESS);
  if (address === addressAt(cpu.w, VmxWord.VMXON_POINTER)) return fail(vmx, InstructionError.VMPTRLD_VMXON_POINTER);
  const identifier = vmx.memory.read32(address) | 0;
  const shadowing = (capabilities.controls.proc2.may & Proc2.VMCS_SHADOWING) !== 0;
  const known = (identifier & ~SHADOW_INDICATOR) === capabilities.revision && (identifier >= 0 || shadowing);
  if (!known || vmx.memory.arenaOffsetOf(address) < 0) return fail(vmx, InstructionError.VMPTRLD_REVISION);
  vmx.setCurrent(address);
  return succeed(cpu);
}

/** Stores the current-VMCS pointer (SDM Vol. 3, VMPTRST). */
export function VMPTRST(vmx: Vmx, insn: Readonly<Instruction>): Outcome {
  const { cpu } = vmx;
  const { w } = cpu;
  if (!vmx.on || isUndefinedHere(cpu)) return undefinedOpcode(cpu);
  if (inNonRoot(cpu)) return exitWithOperand(vmx, ExitReason.VMPTRST, insn, 0);
  if (!isPrivileged(cpu)) return protection(cpu);
  const valid = w[VmxWord.CURRENT_VALID] !== 0;
  const lo = valid ? w[VmxWord.CURRENT]! : -1;
  const hi = valid ? w[VmxWord.CURRENT + 1]! : -1;
  if (!dataAddress(cpu, insn, 8, true) || !writeLinear(cpu, cpu.lo, cpu.hi, 64, lo, hi)) return Outcome.FAULT;
  return succeed(cpu);
}
