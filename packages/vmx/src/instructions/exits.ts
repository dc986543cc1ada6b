import type { Vcpu } from '@nestvm/cpu';
import { GUEST_MODE, type Instruction, Outcome } from '@nestvm/cpu/extension';
import { exitForInstruction } from '../transitions/exit.js';
import type { Vmx } from '../vmx.js';
import { displacement, operandInformation } from './operand.js';

/** True in VMX non-root operation. */
export const inNonRoot = (cpu: Vcpu): boolean => cpu.w[GUEST_MODE] !== 0;

/** The exit of an instruction without operands. */
export function exitWithoutOperand(vmx: Vmx, reason: number, insn: Readonly<Instruction>): Outcome {
  exitForInstruction(vmx, reason, insn.length);
  return Outcome.JUMPED;
}

/** The exit of an instruction with a memory or register operand: displacement and instruction information. */
export function exitWithOperand(vmx: Vmx, reason: number, insn: Readonly<Instruction>, register2: number): Outcome {
  const { cpu, exitRecord } = vmx;
  displacement(cpu, insn);
  exitRecord.qualify(cpu.lo, cpu.hi);
  exitRecord.information = operandInformation(insn, register2);
  return exitWithoutOperand(vmx, reason, insn);
}
