import { type Instruction, RIP_REGISTER } from '@nestvm/decoder';
import { Mode, Rflags, Segment, Vector } from '@nestvm/isa';
import { isCanonical } from './mode.js';
import type { Vcpu } from './vcpu.js';
import { GPR, MODE, RIP, SEG_ATTRIBUTES, SEG_BASE, SEG_LIMIT } from './words.js';

const UNUSABLE = 1 << 16;
const DB = 1 << 14;

/** Adds an int32 pair to `cpu.lo`/`cpu.hi`. */
function add(cpu: Vcpu, lo: number, hi: number): void {
  const sum = (cpu.lo + lo) | 0;
  cpu.hi = (cpu.hi + hi + (sum >>> 0 < lo >>> 0 ? 1 : 0)) | 0;
  cpu.lo = sum;
}

/** Leaves the offset (effective address before segmentation) of the memory operand in `cpu.lo`/`cpu.hi`. */
export function operandOffset(cpu: Vcpu, insn: Readonly<Instruction>): void {
  const w = cpu.w;
  cpu.lo = insn.displacement | 0;
  cpu.hi = insn.displacementBytes === 8 ? insn.displacementHigh | 0 : insn.displacement >> 31;
  if (insn.base === RIP_REGISTER) {
    add(cpu, w[RIP]!, w[RIP + 1]!);
    add(cpu, insn.length, 0);
  } else if (insn.base < 16) {
    add(cpu, w[GPR + 2 * insn.base]!, w[GPR + 2 * insn.base + 1]!);
  }
  if (insn.index < 16) {
    const lo = w[GPR + 2 * insn.index]!;
    const hi = w[GPR + 2 * insn.index + 1]!;
    const scale = insn.scale;
    if (scale === 0) add(cpu, lo, hi);
    else add(cpu, lo << scale, (hi << scale) | (lo >>> (32 - scale)));
  }
  if (insn.addressSize !== 64) {
    cpu.hi = 0;
    if (insn.addressSize === 16) cpu.lo &= 0xffff;
  }
}

/** True when `size` bytes at `offset` are inside the segment's limit; expand-down segments have their valid range above it. */
function withinLimit(w: Int32Array, segment: number, offset: number, size: number): boolean {
  const limit = w[SEG_LIMIT + segment]! >>> 0;
  const attributes = w[SEG_ATTRIBUTES + segment]!;
  const last = offset + size - 1;
  const expandDown = (attributes & 0x1c) === 0x14;
  if (!expandDown) return last <= limit;
  return offset > limit && last <= ((attributes & DB) !== 0 ? 0xffffffff : 0xffff);
}

function typeAllows(attributes: number, write: boolean): boolean {
  if ((attributes & UNUSABLE) !== 0) return false;
  const code = (attributes & 8) !== 0;
  const bit1 = (attributes & 2) !== 0;
  return write ? !code && bit1 : !code || bit1;
}

/**
 * Segmentation: checks `size` bytes at offset (lo, hi) in a segment and leaves their linear address in `cpu.lo`/`cpu.hi`.
 * False: #GP(0), or #SS(0) for the stack segment, has been recorded.
 */
export function segmentAddress(cpu: Vcpu, segment: number, lo: number, hi: number, size: number, write: boolean): boolean {
  const w = cpu.w;
  const mode = w[MODE]!;
  const vector = segment === Segment.SS ? Vector.SS : Vector.GP;
  const baseLo = w[SEG_BASE + 2 * segment]!;
  cpu.lo = lo;
  cpu.hi = hi;
  if ((mode & Mode.LONG) !== 0) {
    if (segment === Segment.FS || segment === Segment.GS) add(cpu, baseLo, w[SEG_BASE + 2 * segment + 1]!);
    const lastHi = (cpu.hi + ((cpu.lo >>> 0) + size - 1 > 0xffffffff ? 1 : 0)) | 0;
    if (!isCanonical(cpu, cpu.hi) || !isCanonical(cpu, lastHi)) return cpu.fail(vector, 0);
    return true;
  }
  if ((mode & Mode.PROTECTED) !== 0 && !typeAllows(w[SEG_ATTRIBUTES + segment]!, write)) return cpu.fail(vector, 0);
  if (!withinLimit(w, segment, lo >>> 0, size)) return cpu.fail(vector, 0);
  cpu.lo = (baseLo + lo) | 0;
  cpu.hi = 0;
  return true;
}

/** The linear address of the memory operand in `cpu.lo`/`cpu.hi`, segment-checked for `size` bytes; false when a fault was recorded. */
export function operandAddress(cpu: Vcpu, insn: Readonly<Instruction>, size: number, write: boolean): boolean {
  operandOffset(cpu, insn);
  return segmentAddress(cpu, insn.segment, cpu.lo, cpu.hi, size, write);
}

/** Same as {@link operandAddress} with the alignment check (#AC) of a plain data access of a power-of-two size. */
export function dataAddress(cpu: Vcpu, insn: Readonly<Instruction>, size: number, write: boolean): boolean {
  return operandAddress(cpu, insn, size, write) && isAligned(cpu, size);
}

/** The alignment check of the linear address in `cpu.lo` (SDM Vol. 3, "Alignment Check Exception (#AC)"): false when #AC was recorded. */
export function isAligned(cpu: Vcpu, alignment: number): boolean {
  return (cpu.w[MODE]! & Mode.ALIGN) === 0 || (cpu.lo & (alignment - 1)) === 0 ? true : cpu.fail(Vector.AC, 0);
}

/** The linear address of a segment base plus offset without any check, for INVLPG and its like. */
export function uncheckedAddress(cpu: Vcpu, insn: Readonly<Instruction>): void {
  operandOffset(cpu, insn);
  const w = cpu.w;
  const segment = insn.segment;
  if ((w[MODE]! & Mode.LONG) !== 0) {
    if (segment === Segment.FS || segment === Segment.GS) add(cpu, w[SEG_BASE + 2 * segment]!, w[SEG_BASE + 2 * segment + 1]!);
    return;
  }
  cpu.lo = (w[SEG_BASE + 2 * segment]! + cpu.lo) | 0;
  cpu.hi = 0;
}

/** RFLAGS.IOPL, 0-3. */
export const iopl = (rflags: number): number => (rflags & Rflags.IOPL) >>> 12;
