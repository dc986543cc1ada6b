import { canonicalShift, GPR, type Instruction, MODE, Outcome } from '@nestvm/cpu/extension';
import { Mode } from '@nestvm/isa';
import { EptVpid } from '../capabilities/capabilities.js';
import { isEptPointerValid } from '../transitions/ept-pointer.js';
import { ExitReason } from '../transitions/reasons.js';
import type { Vmx } from '../vmx.js';
import { exitWithOperand, inNonRoot } from './exits.js';
import { readDescriptor } from './operand.js';
import { fail, InstructionError, isPrivileged, isUndefinedHere, protection, succeed, undefinedOpcode } from './results.js';

const descriptor = new Int32Array(4);

/** The type operand as a number; -1 when it is beyond 32 bits. */
function typeOperand(vmx: Vmx, insn: Readonly<Instruction>): number {
  const { w } = vmx.cpu;
  const at = GPR + 2 * insn.reg;
  return (w[MODE]! & Mode.LONG) !== 0 && w[at + 1] !== 0 ? -1 : w[at]! >>> 0;
}

/** Invalidates translations that came through an EPT (SDM Vol. 3, INVEPT). */
export function INVEPT(vmx: Vmx, insn: Readonly<Instruction>): Outcome {
  const { cpu, mmu } = vmx;
  const cap = vmx.capabilities.eptVpidLo;
  if (!vmx.on || isUndefinedHere(cpu) || (cap & EptVpid.INVEPT) === 0) return undefinedOpcode(cpu);
  if (inNonRoot(cpu)) return exitWithOperand(vmx, ExitReason.INVEPT, insn, insn.reg);
  if (!isPrivileged(cpu)) return protection(cpu);
  const type = typeOperand(vmx, insn);
  const known = (type === 1 && (cap & EptVpid.INVEPT_SINGLE) !== 0) || (type === 2 && (cap & EptVpid.INVEPT_ALL) !== 0);
  if (!known) return fail(vmx, InstructionError.INVALIDATION_OPERAND);
  if (!readDescriptor(cpu, insn, descriptor)) return Outcome.FAULT;
  if (type === 2) mmu.invalidateAllRoots();
  else {
    const lo = descriptor[0]!;
    const hi = descriptor[1]!;
    if (!isEptPointerValid(vmx.capabilities, lo, hi)) return fail(vmx, InstructionError.INVALIDATION_OPERAND);
    mmu.invalidateRoot(hi * 4294967296 + ((lo & ~0xfff) >>> 0));
  }
  return succeed(cpu);
}

const VPID_TYPES = [EptVpid.INVVPID_ADDRESS, EptVpid.INVVPID_SINGLE, EptVpid.INVVPID_ALL, EptVpid.INVVPID_SINGLE_RETAINING_GLOBALS] as const;

/** Invalidates translations by VPID (SDM Vol. 3, INVVPID). */
export function INVVPID(vmx: Vmx, insn: Readonly<Instruction>): Outcome {
  const { cpu } = vmx;
  const cap = vmx.capabilities.eptVpidHi;
  if (!vmx.on || isUndefinedHere(cpu) || (cap & EptVpid.INVVPID) === 0) return undefinedOpcode(cpu);
  if (inNonRoot(cpu)) return exitWithOperand(vmx, ExitReason.INVVPID, insn, insn.reg);
  if (!isPrivileged(cpu)) return protection(cpu);
  const type = typeOperand(vmx, insn);
  if (type < 0 || type > 3 || (cap & VPID_TYPES[type]!) === 0) return fail(vmx, InstructionError.INVALIDATION_OPERAND);
  if (!readDescriptor(cpu, insn, descriptor)) return Outcome.FAULT;
  const tag = descriptor[0]! & 0xffff;
  const reserved = (descriptor[0]! & ~0xffff) !== 0 || descriptor[1] !== 0;
  if (reserved || (type !== 2 && tag === 0)) return fail(vmx, InstructionError.INVALIDATION_OPERAND);
  if (type === 0) {
    const top = descriptor[3]! >> canonicalShift(cpu);
    if (top !== 0 && top !== -1) return fail(vmx, InstructionError.INVALIDATION_OPERAND);
  }
  invalidateVpid(vmx, type, tag);
  return succeed(cpu);
}

function invalidateVpid(vmx: Vmx, type: number, tag: number): void {
  const { mmu } = vmx;
  if (type === 0) mmu.invalidateTagPage(tag, descriptor[2]!, descriptor[3]!);
  else if (type === 1) mmu.invalidateTag(tag);
  else if (type === 2) mmu.invalidateAllTags(false);
  else mmu.invalidateTagNonGlobal(tag);
}
