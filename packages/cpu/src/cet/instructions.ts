import type { Instruction } from '@nestvm/decoder';
import { CetControl, ControlProtection, Cr4, Mode, Vector } from '@nestvm/isa';
import { operandAddress } from '../address.js';
import { writeGpr } from '../operands.js';
import { Outcome } from '../outcome.js';
import type { Vcpu } from '../vcpu.js';
import { CPL, CR4, GPR, MODE, PL_SSP, SSP } from '../words.js';
import { cetControl } from './state.js';

const BUSY = 1;
/** Bit 1 of a token: it is a “previous SSP” token, which SAVEPREVSSP takes. */
const PREVIOUS = 2;
const CF = 1;

const isOn = (cpu: Vcpu): boolean => (cpu.w[MODE]! & Mode.SHADOW_STACK) !== 0;
/** Bit 0 of the tokens that are made and taken in 64-bit mode. */
const longBit = (cpu: Vcpu): number => ((cpu.w[MODE]! & Mode.LONG) !== 0 ? 1 : 0);

/** The memory operand's linear address into `cpu.lo`/`cpu.hi`; it has to be aligned. */
function aligned(cpu: Vcpu, insn: Readonly<Instruction>, bytes: number): boolean {
  if (!operandAddress(cpu, insn, bytes, true)) return false;
  return (cpu.lo & (bytes - 1)) === 0 ? true : cpu.fail(Vector.GP, 0);
}

/** Opens the cursor at the linear address in `cpu.lo`/`cpu.hi`, on a shadow stack of level `cpl`. */
function openHere(cpu: Vcpu, cpl: number): void {
  cpu.shadowStack.openAt(cpu.lo, cpu.hi, cpl, (cpu.w[MODE]! & Mode.LONG) !== 0);
}

function setSsp(cpu: Vcpu, lo: number, hi: number): void {
  cpu.w[SSP] = lo;
  cpu.w[SSP + 1] = hi;
}

/** Moves SSP up by some elements, the first and the last of which have to be there. */
export function INCSSP(cpu: Vcpu, insn: Readonly<Instruction>): Outcome {
  if (!isOn(cpu)) return cpu.raise(Vector.UD);
  const bytes = insn.operandSize === 64 ? 8 : 4;
  const count = cpu.w[GPR + 2 * insn.rm]! & 0xff;
  const { shadowStack } = cpu;
  shadowStack.open(cpu.w[CPL]!);
  if (!shadowStack.read(bytes)) return Outcome.FAULT;
  shadowStack.move(bytes * (Math.max(count, 1) - 1));
  if (!shadowStack.read(bytes)) return Outcome.FAULT;
  if (count > 0) shadowStack.move(bytes);
  shadowStack.commit();
  return Outcome.NEXT;
}

/** Reads SSP; where shadow stacks are off it does nothing, and does not come here. */
export function RDSSP(cpu: Vcpu, insn: Readonly<Instruction>): Outcome {
  writeGpr(cpu, insn.rm, insn.operandSize === 64 ? 64 : 32, cpu.w[SSP]!, cpu.w[SSP + 1]!);
  return Outcome.NEXT;
}

/** Pops the token that RSTORSSP left, and the hole that CF tells of; the token's pointer is in `cpu.lo`/`cpu.hi`. */
function popPrevious(cpu: Vcpu): boolean {
  const { shadowStack } = cpu;
  if (!shadowStack.isAligned) return cpu.fail(Vector.GP, 0);
  if (!shadowStack.pop(8)) return false;
  const { lo, hi } = cpu;
  if ((cpu.readRflags() & CF) !== 0) {
    if (longBit(cpu) !== 0) return cpu.fail(Vector.GP, 0);
    if (!shadowStack.pop(4)) return false;
    if (cpu.lo !== 0) return cpu.fail(Vector.GP, 0);
  }
  if ((lo & PREVIOUS) === 0 || (longBit(cpu) === 0 && hi !== 0)) return cpu.fail(Vector.GP, 0);
  cpu.lo = lo & ~3;
  cpu.hi = hi;
  return true;
}

/** Leaves a restore token on the shadow stack that RSTORSSP came from. */
export function SAVEPREVSSP(cpu: Vcpu): Outcome {
  if (!isOn(cpu)) return cpu.raise(Vector.UD);
  const { shadowStack } = cpu;
  shadowStack.open(cpu.w[CPL]!);
  if (!popPrevious(cpu)) return Outcome.FAULT;
  const nextLo = shadowStack.lo;
  const nextHi = shadowStack.hi;
  const { lo, hi } = cpu;
  openHere(cpu, cpu.w[CPL]!);
  // From an 8-byte boundary on; a hole of 4 bytes holds 0.
  if (!shadowStack.isAligned && !shadowStack.push(4, 0, 0)) return Outcome.FAULT;
  if (!shadowStack.push(8, lo | longBit(cpu), hi)) return Outcome.FAULT;
  setSsp(cpu, nextLo, nextHi);
  return Outcome.NEXT;
}

/** Whether a restore token is one for the place where it is. */
function isRestoreToken(cpu: Vcpu, lo: number, hi: number, tokenLo: number, tokenHi: number): boolean {
  if ((tokenLo & 3) !== longBit(cpu) || (longBit(cpu) === 0 && tokenHi !== 0)) return false;
  const pointer = tokenLo & ~1;
  const placeLo = (pointer - 8) & ~7;
  return placeLo === lo && ((tokenHi - (pointer >>> 0 < 8 ? 1 : 0)) | 0) === hi;
}

/** Switches to the shadow stack whose restore token is in memory, and leaves a “previous SSP” token in its place. */
export function RSTORSSP(cpu: Vcpu, insn: Readonly<Instruction>): Outcome {
  if (!isOn(cpu)) return cpu.raise(Vector.UD);
  if (!aligned(cpu, insn, 8)) return Outcome.FAULT;
  const { w, shadowStack } = cpu;
  const { lo, hi } = cpu;
  openHere(cpu, w[CPL]!);
  if (!shadowStack.probe() || !shadowStack.read(8)) return Outcome.FAULT;
  const tokenLo = cpu.lo;
  if (!isRestoreToken(cpu, lo, hi, tokenLo, cpu.hi)) return cpu.raise(Vector.CP, ControlProtection.RSTORSSP);
  if (!shadowStack.write(8, w[SSP]! | longBit(cpu) | PREVIOUS, w[SSP + 1]!)) return Outcome.FAULT;
  setSsp(cpu, lo, hi);
  // CF tells of a hole of 4 bytes above the token.
  cpu.writeArithmeticFlags((tokenLo & 4) !== 0 ? CF : 0);
  return Outcome.NEXT;
}

/** The source register, written to a shadow stack of level `cpl`. */
function writeShadow(cpu: Vcpu, insn: Readonly<Instruction>, cpl: number): Outcome {
  const bytes = insn.operandSize === 64 ? 8 : 4;
  if (!aligned(cpu, insn, bytes)) return Outcome.FAULT;
  openHere(cpu, cpl);
  const at = GPR + 2 * insn.reg;
  return cpu.shadowStack.write(bytes, cpu.w[at]!, cpu.w[at + 1]!) ? Outcome.NEXT : Outcome.FAULT;
}

/** Writes to the shadow stack, where that is enabled. */
export function WRSS(cpu: Vcpu, insn: Readonly<Instruction>): Outcome {
  const cpl = cpu.w[CPL]!;
  const wanted = CetControl.SH_STK_EN | CetControl.WR_SHSTK_EN;
  if (!isOn(cpu) || (cetControl(cpu, cpl) & wanted) !== wanted) return cpu.raise(Vector.UD);
  return writeShadow(cpu, insn, cpl);
}

const inProtectedMode = (cpu: Vcpu): boolean => (cpu.w[CR4]! & Cr4.CET) !== 0 && (cpu.w[MODE]! & Mode.PROTECTED) !== 0;

/** Level 0 writes to a user's shadow stack. */
export function WRUSS(cpu: Vcpu, insn: Readonly<Instruction>): Outcome {
  if (!inProtectedMode(cpu)) return cpu.raise(Vector.UD);
  if (cpu.w[CPL] !== 0) return cpu.raise(Vector.GP, 0);
  return writeShadow(cpu, insn, 3);
}

/** #UD without supervisor shadow stacks, #GP(0) above level 0: true when a fault was recorded. */
function isForbidden(cpu: Vcpu): boolean {
  if (!inProtectedMode(cpu) || (cetControl(cpu, 0) & CetControl.SH_STK_EN) === 0) {
    cpu.raise(Vector.UD);
    return true;
  }
  if (cpu.w[CPL] === 0) return false;
  cpu.raise(Vector.GP, 0);
  return true;
}

/** Takes the shadow stack that IA32_PL0_SSP names. */
export function SETSSBSY(cpu: Vcpu): Outcome {
  if (isForbidden(cpu)) return Outcome.FAULT;
  cpu.lo = cpu.w[PL_SSP]!;
  cpu.hi = cpu.w[PL_SSP + 1]!;
  if ((cpu.lo & 7) !== 0) return cpu.raise(Vector.GP, 0);
  const { lo, hi } = cpu;
  openHere(cpu, 0);
  const taken = cpu.shadowStack.exchange(lo, hi, lo | BUSY, hi);
  if (taken < 0) return Outcome.FAULT;
  if (taken === 0) return cpu.raise(Vector.CP, ControlProtection.SETSSBSY);
  setSsp(cpu, lo, hi);
  return Outcome.NEXT;
}

/** Frees a shadow stack by its token, and leaves none in use; CF tells that there is no busy token. */
export function CLRSSBSY(cpu: Vcpu, insn: Readonly<Instruction>): Outcome {
  if (isForbidden(cpu) || !aligned(cpu, insn, 8)) return Outcome.FAULT;
  const { lo, hi } = cpu;
  openHere(cpu, 0);
  const freed = cpu.shadowStack.exchange(lo | BUSY, hi, lo, hi);
  if (freed < 0) return Outcome.FAULT;
  cpu.writeArithmeticFlags(freed === 1 ? 0 : CF);
  setSsp(cpu, 0, 0);
  return Outcome.NEXT;
}
