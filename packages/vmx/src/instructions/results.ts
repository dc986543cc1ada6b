import type { Vcpu } from '@nestvm/cpu';
import { CPL, CR0, EFER, MODE, Outcome, RFLAGS } from '@nestvm/cpu/extension';
import { Cr0, Efer, Mode, Rflags, Vector } from '@nestvm/isa';
import { explainInstruction } from '../explain/instruction-errors.js';
import { F } from '../fields/layout.js';
import type { Vmx } from '../vmx.js';

/** VM-instruction error numbers (SDM Vol. 3, "VM Instruction Error Numbers"). */
export const InstructionError = {
  VMCALL_IN_ROOT: 1,
  VMCLEAR_ADDRESS: 2,
  VMCLEAR_VMXON_POINTER: 3,
  VMLAUNCH_NOT_CLEAR: 4,
  VMRESUME_NOT_LAUNCHED: 5,
  VMRESUME_AFTER_VMXOFF: 6,
  CONTROLS: 7,
  HOST_STATE: 8,
  VMPTRLD_ADDRESS: 9,
  VMPTRLD_VMXON_POINTER: 10,
  VMPTRLD_REVISION: 11,
  UNSUPPORTED_FIELD: 12,
  READ_ONLY_FIELD: 13,
  VMXON_IN_ROOT: 15,
  MOV_SS_BLOCKING: 26,
  INVALIDATION_OPERAND: 28,
} as const;

const ERROR = F.INSTRUCTION_ERROR;

/** VMsucceed: all arithmetic flags clear. */
export function succeed(cpu: Vcpu): Outcome {
  cpu.writeArithmeticFlags(0);
  return Outcome.NEXT;
}

/** Tells whoever listens that an instruction of root operation was refused; see `explainInstruction` for `error`. */
export function refused(vmx: Vmx, error: number): void {
  vmx.onRefusal?.(vmx.cpu, () => explainInstruction(vmx, error));
}

/** VMfailInvalid: CF. */
export function failInvalid(vmx: Vmx): Outcome {
  vmx.cpu.writeArithmeticFlags(Rflags.CF);
  refused(vmx, 0);
  return Outcome.NEXT;
}

/** VMfail: VMfailValid with an error number when there is a current VMCS, VMfailInvalid otherwise. */
export function fail(vmx: Vmx, error: number): Outcome {
  if (vmx.region < 0) return failInvalid(vmx);
  vmx.touch(vmx.region);
  vmx.i32[vmx.region + ERROR] = error;
  vmx.cpu.writeArithmeticFlags(Rflags.ZF);
  // The checks of an entry have been told of as such.
  if (error !== InstructionError.CONTROLS && error !== InstructionError.HOST_STATE) refused(vmx, error);
  return Outcome.NEXT;
}

/** True where VMX instructions are undefined whatever their operands: real mode, virtual-8086 mode, compatibility mode. */
export function isUndefinedHere(cpu: Vcpu): boolean {
  const { w } = cpu;
  return (w[CR0]! & Cr0.PE) === 0 || (w[RFLAGS]! & Rflags.VM) !== 0 || ((w[EFER]! & Efer.LMA) !== 0 && (w[MODE]! & Mode.LONG) === 0);
}

/** #GP(0) for CPL above 0. */
export const isPrivileged = (cpu: Vcpu): boolean => cpu.w[CPL] === 0;

/** Raises #UD. */
export const undefinedOpcode = (cpu: Vcpu): Outcome => cpu.raise(Vector.UD);
/** Raises #GP(0). */
export const protection = (cpu: Vcpu): Outcome => cpu.raise(Vector.GP, 0);
