import { type Instruction, NO_REGISTER, RIP_REGISTER } from '@nestvm/decoder';
import { BoundStatus, Mode, Segment, Vector } from '@nestvm/isa';
import { isAligned, operandAddress, operandOffset } from '../address.js';
import { updateModeBits } from '../mode.js';
import { isRegisterForm, readLinear, writeLinear } from '../operands.js';
import { Outcome } from '../outcome.js';
import type { Vcpu } from '../vcpu.js';
import { BND_STATUS, BOUNDS, CPL, GPR, MODE, SEG_BASE } from '../words.js';
import { boundConfig } from './state.js';
import { BOUND_REGISTERS } from './xstate.js';

/** Words of a bound register: lower bound, then the complement of the upper one, 64 bits each. */
const WORDS = 4;
const boundAt = (register: number): number => BOUNDS + WORDS * register;
const isLong = (cpu: Vcpu): boolean => (cpu.w[MODE]! & Mode.LONG) !== 0;

/** #UD: a bound register that does not exist, or 16-bit addresses (SDM Vol. 1, "Intel MPX Instruction Summary"). */
function isEncodable(insn: Readonly<Instruction>, registerOperand: boolean): boolean {
  if (insn.reg >= BOUND_REGISTERS) return false;
  return isRegisterForm(insn) ? !registerOperand || insn.rm < BOUND_REGISTERS : insn.addressSize !== 16;
}

/** Ends an instruction that has changed bounds. */
function changed(cpu: Vcpu): Outcome {
  updateModeBits(cpu);
  return Outcome.NEXT;
}

/** #BR, with its reason in BNDSTATUS: `BoundStatus`, and the address of an entry that is not valid. */
function violated(cpu: Vcpu, lo: number, hi: number): Outcome {
  cpu.w[BND_STATUS] = lo;
  cpu.w[BND_STATUS + 1] = hi;
  return cpu.raise(Vector.BR);
}

/** Makes bounds of the base register and the effective address, both included. */
export function BNDMK(cpu: Vcpu, insn: Readonly<Instruction>): Outcome {
  if (isRegisterForm(insn)) return Outcome.NEXT;
  if (!isEncodable(insn, false) || insn.base === RIP_REGISTER) return cpu.raise(Vector.UD);
  const { w } = cpu;
  const at = boundAt(insn.reg);
  operandOffset(cpu, insn);
  const long = isLong(cpu);
  const based = insn.base !== NO_REGISTER;
  w[at] = based ? w[GPR + 2 * insn.base]! : 0;
  w[at + 1] = based && long ? w[GPR + 2 * insn.base + 1]! : 0;
  w[at + 2] = ~cpu.lo;
  w[at + 3] = long ? ~cpu.hi : 0;
  return changed(cpu);
}

/** What is compared, into `cpu.lo`/`cpu.hi`: a register, or the effective address of a memory operand, which is not accessed. */
function checkedAddress(cpu: Vcpu, insn: Readonly<Instruction>): void {
  if (!isRegisterForm(insn)) operandOffset(cpu, insn);
  else {
    cpu.lo = cpu.w[GPR + 2 * insn.rm]!;
    cpu.hi = cpu.w[GPR + 2 * insn.rm + 1]!;
  }
  if (!isLong(cpu)) cpu.hi = 0;
}

const isBelow = (lo: number, hi: number, otherLo: number, otherHi: number): boolean =>
  hi === otherHi ? lo >>> 0 < otherLo >>> 0 : hi >>> 0 < otherHi >>> 0;

/** Lower bound. */
export function BNDCL(cpu: Vcpu, insn: Readonly<Instruction>): Outcome {
  if (!isEncodable(insn, false)) return cpu.raise(Vector.UD);
  const at = boundAt(insn.reg);
  checkedAddress(cpu, insn);
  return isBelow(cpu.lo, cpu.hi, cpu.w[at]!, isLong(cpu) ? cpu.w[at + 1]! : 0) ? violated(cpu, BoundStatus.VIOLATION, 0) : Outcome.NEXT;
}

/** Upper bound; `inverted`: the register has its complement, as BNDMK leaves it. */
function checkUpper(cpu: Vcpu, insn: Readonly<Instruction>, inverted: number): Outcome {
  if (!isEncodable(insn, false)) return cpu.raise(Vector.UD);
  const at = boundAt(insn.reg) + 2;
  checkedAddress(cpu, insn);
  const above = isBelow(cpu.w[at]! ^ inverted, isLong(cpu) ? cpu.w[at + 1]! ^ inverted : 0, cpu.lo, cpu.hi);
  return above ? violated(cpu, BoundStatus.VIOLATION, 0) : Outcome.NEXT;
}

export const BNDCU = (cpu: Vcpu, insn: Readonly<Instruction>): Outcome => checkUpper(cpu, insn, -1);
export const BNDCN = (cpu: Vcpu, insn: Readonly<Instruction>): Outcome => checkUpper(cpu, insn, 0);

/** Loads the two bounds of a register from `stride` bytes each at a linear address; false with a fault recorded. */
function loadBounds(cpu: Vcpu, register: number, lo: number, hi: number, stride: 4 | 8): boolean {
  const { w } = cpu;
  const upper = (lo + stride) | 0;
  if (!readLinear(cpu, lo, hi, 8 * stride)) return false;
  const [lowerLo, lowerHi] = [cpu.lo, cpu.hi];
  if (!readLinear(cpu, upper, carried(cpu, upper, stride, hi), 8 * stride)) return false;
  const at = boundAt(register);
  w[at] = lowerLo;
  w[at + 1] = lowerHi;
  w[at + 2] = cpu.lo;
  w[at + 3] = cpu.hi;
  return true;
}

/** Stores them, both or none. */
function storeBounds(cpu: Vcpu, register: number, lo: number, hi: number, stride: 4 | 8): boolean {
  const at = boundAt(register);
  const bytes = new Int32Array([cpu.w[at]!, cpu.w[at + 1]!, cpu.w[at + 2]!, cpu.w[at + 3]!]);
  if (stride === 4) bytes.copyWithin(1, 2, 3);
  return cpu.linear.writeBytes(lo, hi, new Uint8Array(bytes.buffer, 0, 2 * stride), cpu.w[CPL] === 3);
}

/** High half of an address whose low half has become `lo` by adding `step`; outside of 64-bit mode there is none. */
const carried = (cpu: Vcpu, lo: number, step: number, hi: number): number => (isLong(cpu) ? (hi + (lo >>> 0 < step ? 1 : 0)) | 0 : 0);

/** Moves bounds between registers, or to and from memory: 8 bytes, 16 in 64-bit mode. */
export function BNDMOV(cpu: Vcpu, insn: Readonly<Instruction>): Outcome {
  if (!isEncodable(insn, true)) return cpu.raise(Vector.UD);
  const { w } = cpu;
  const store = insn.row.operands[0]!.method === 'BE';
  if (isRegisterForm(insn)) {
    const [to, from] = store ? [insn.rm, insn.reg] : [insn.reg, insn.rm];
    w.copyWithin(boundAt(to), boundAt(from), boundAt(from) + WORDS);
    return changed(cpu);
  }
  const stride = isLong(cpu) ? 8 : 4;
  if (!operandAddress(cpu, insn, 2 * stride, store) || !isAligned(cpu, stride)) return Outcome.FAULT;
  if (store) return storeBounds(cpu, insn.reg, cpu.lo, cpu.hi, stride) ? Outcome.NEXT : Outcome.FAULT;
  return loadBounds(cpu, insn.reg, cpu.lo, cpu.hi, stride) ? changed(cpu) : Outcome.FAULT;
}

/** Adds to the address in `cpu.lo`/`cpu.hi`. */
function add(cpu: Vcpu, lo: number, hi: number): void {
  cpu.lo = (cpu.lo + lo) | 0;
  cpu.hi = (cpu.hi + hi + (cpu.lo >>> 0 < lo >>> 0 ? 1 : 0)) | 0;
}

/** The linear address of a pointer in memory: base register and displacement in their segment; without a base register, zero. */
function pointerPlace(cpu: Vcpu, insn: Readonly<Instruction>): void {
  const { w } = cpu;
  cpu.lo = cpu.hi = 0;
  if (insn.base !== NO_REGISTER) {
    add(cpu, w[GPR + 2 * insn.base]!, w[GPR + 2 * insn.base + 1]!);
    add(cpu, insn.displacement, insn.displacement >> 31);
    if (!isLong(cpu)) cpu.hi = 0;
  }
  if (!isLong(cpu) || insn.segment === Segment.FS || insn.segment === Segment.GS)
    add(cpu, w[SEG_BASE + 2 * insn.segment]!, w[SEG_BASE + 2 * insn.segment + 1]!);
  if (!isLong(cpu)) cpu.hi = 0;
}

/** What a walk of the bound directory found. */
const Found = { ENTRY: 0, FAULT: 1, INVALID: 2 } as const;

/**
 * Finds the entry of the bound table for the place of a pointer in `cpu.lo`/`cpu.hi`, and leaves its linear address there (SDM Vol. 2, "BNDLDX"). `INVALID`: the directory's entry
 * is not valid; its address is left.
 */
function findEntry(cpu: Vcpu): number {
  const { w } = cpu;
  const [lo, hi] = [cpu.lo, cpu.hi];
  const long = isLong(cpu);
  const config = boundConfig(w[CPL]!);
  cpu.lo = w[config]! & ~0xfff;
  cpu.hi = long ? w[config + 1]! : 0;
  // Bits 47:20 of the place count entries of 8 bytes; outside of 64-bit mode bits 31:12 entries of 4.
  const index = long ? ((hi & 0xffff) << 12) | (lo >>> 20) : lo >>> 12;
  add(cpu, index << (long ? 3 : 2), 0);
  if (!long) cpu.hi = 0;
  const [entryLo, entryHi] = [cpu.lo, cpu.hi];
  if (!readLinear(cpu, entryLo, entryHi, long ? 64 : 32)) return Found.FAULT;
  if ((cpu.lo & 1) === 0) {
    cpu.lo = entryLo;
    cpu.hi = entryHi;
    return Found.INVALID;
  }
  cpu.lo &= long ? ~7 : ~3;
  add(cpu, long ? ((lo >>> 3) & 0x1_ffff) << 5 : ((lo >>> 2) & 0x3ff) << 4, 0);
  if (!long) cpu.hi = 0;
  return Found.ENTRY;
}

/** Leaves the address of an operand's entry in `cpu.lo`/`cpu.hi`: then NEXT, else FAULT. */
function tableEntry(cpu: Vcpu, insn: Readonly<Instruction>): Outcome {
  pointerPlace(cpu, insn);
  const found = findEntry(cpu);
  if (found === Found.INVALID) return violated(cpu, cpu.lo | BoundStatus.BAD_ENTRY, cpu.hi);
  return found === Found.FAULT ? Outcome.FAULT : Outcome.NEXT;
}

/** The index register holds the pointer itself. */
const pointerWord = (insn: Readonly<Instruction>): number => (insn.index === NO_REGISTER ? -1 : GPR + 2 * insn.index);

/** Loads the bounds of a pointer from the bound table: none, when the table knows another pointer at its place. */
export function BNDLDX(cpu: Vcpu, insn: Readonly<Instruction>): Outcome {
  if (isRegisterForm(insn)) return Outcome.NEXT;
  if (!isEncodable(insn, false) || insn.base === RIP_REGISTER) return cpu.raise(Vector.UD);
  const found = tableEntry(cpu, insn);
  if (found !== Outcome.NEXT) return found;
  const { lo, hi } = cpu;
  const { w } = cpu;
  const stride = isLong(cpu) ? 8 : 4;
  const at = (lo + 2 * stride) | 0;
  if (!readLinear(cpu, at, carried(cpu, at, 2 * stride, hi), 8 * stride)) return Outcome.FAULT;
  const pointer = pointerWord(insn);
  const isKnown = cpu.lo === (pointer < 0 ? 0 : w[pointer]) && (stride === 4 || cpu.hi === (pointer < 0 ? 0 : w[pointer + 1]));
  if (!loadBounds(cpu, insn.reg, lo, hi, stride)) return Outcome.FAULT;
  if (!isKnown) w.fill(0, boundAt(insn.reg), boundAt(insn.reg) + WORDS);
  return changed(cpu);
}

/** Stores the bounds of a pointer, and the pointer, into the bound table. */
export function BNDSTX(cpu: Vcpu, insn: Readonly<Instruction>): Outcome {
  if (isRegisterForm(insn)) return Outcome.NEXT;
  if (!isEncodable(insn, false) || insn.base === RIP_REGISTER) return cpu.raise(Vector.UD);
  const found = tableEntry(cpu, insn);
  if (found !== Outcome.NEXT) return found;
  const { lo, hi } = cpu;
  const stride = isLong(cpu) ? 8 : 4;
  const at = (lo + 2 * stride) | 0;
  const pointer = pointerWord(insn);
  const [pointerLo, pointerHi] = pointer < 0 ? [0, 0] : [cpu.w[pointer]!, cpu.w[pointer + 1]!];
  if (!writeLinear(cpu, at, carried(cpu, at, 2 * stride, hi), 8 * stride, pointerLo, pointerHi)) return Outcome.FAULT;
  return storeBounds(cpu, insn.reg, lo, hi, stride) ? Outcome.NEXT : Outcome.FAULT;
}

/** The old BOUND, whose #BR says in BNDSTATUS that it is not MPX's. */
export function BOUND(cpu: Vcpu, insn: Readonly<Instruction>): Outcome {
  const bytes = insn.operandSize >>> 3;
  if (!operandAddress(cpu, insn, 2 * bytes, false)) return Outcome.FAULT;
  const { lo } = cpu;
  if (!readLinear(cpu, lo, 0, 8 * bytes)) return Outcome.FAULT;
  const lower = signed(cpu.lo, bytes);
  if (!readLinear(cpu, (lo + bytes) | 0, 0, 8 * bytes)) return Outcome.FAULT;
  const index = signed(cpu.w[GPR + 2 * insn.reg]!, bytes);
  return index < lower || index > signed(cpu.lo, bytes) ? violated(cpu, 0, 0) : Outcome.NEXT;
}

const signed = (value: number, bytes: number): number => (bytes === 2 ? (value << 16) >> 16 : value);
