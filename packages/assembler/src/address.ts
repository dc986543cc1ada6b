import type { OpcodeRow } from '@nestvm/isa';
import type { Resolve } from './expression.js';
import { evaluate, hasLabel } from './expression.js';
import type { Fields, Shape } from './fields.js';
import type { Memory, Register } from './operand.js';

/** An encoded memory operand: ModRM without reg, then SIB and displacement; extension bits for REX, VEX and EVEX. */
export interface Address {
  readonly modRm: number;
  readonly tail: readonly number[];
  /** Registers' bit 3: of the base, and of the index. */
  readonly b: number;
  readonly x: number;
  /** EVEX.V': bit 4 of a vector index. */
  readonly v: number;
  /** The displacement is relative to the end of the instruction: its place in `tail` and its target. */
  readonly relative: bigint | null;
}

const log2 = (n: number): number => 31 - Math.clz32(n);
const BELOW_VECTOR: Record<string, number> = { full: 0, half: 1, quarter: 2, 'full-mem': 0, 'half-mem': 1, 'quarter-mem': 2, 'eighth-mem': 3 };
const ELEMENTS: Record<string, number> = { scalar: 0, t2: 1, t4: 2, t8: 3 };

/** log2 of N in EVEX disp8*N (SDM Vol. 2, "Compressed Displacement (disp8*N) Support in EVEX"). */
function displacementShift(row: OpcodeRow, broadcast: boolean, vectorLength: number): number {
  const { evex } = row;
  if (evex === null) return 0;
  const element = log2(evex.elementBytes);
  if (broadcast && evex.broadcast) return element;
  const vector = log2(vectorLength >> 3);
  const below = BELOW_VECTOR[evex.tuple];
  if (below !== undefined) return vector - below;
  const elements = ELEMENTS[evex.tuple];
  if (elements !== undefined) return element + elements;
  if (evex.tuple === 'mem128') return 4;
  return evex.tuple === 'movddup' ? (vectorLength === 128 ? 3 : vector) : 0;
}

/** The address size that a memory operand asks for, or 0 where its registers disagree or cannot be. */
export function addressSizeOf(memory: Memory, mode: 16 | 32 | 64): 0 | 16 | 32 | 64 {
  const sizes = new Set<number>();
  if (memory.addressSize !== 0) sizes.add(memory.addressSize);
  if (memory.base === 'rip') sizes.add(64);
  else if (memory.base === 'eip') sizes.add(32);
  else if (memory.base !== null) sizes.add(memory.base.bits);
  if (memory.index !== null && memory.index.file === 'general') sizes.add(memory.index.bits);
  if (sizes.size > 1) return 0;
  const [size = mode] = sizes;
  const possible = mode === 64 ? [64, 32] : [32, 16];
  return possible.includes(size) ? (size as 16 | 32 | 64) : 0;
}

const bytesOf = (value: bigint, count: number): number[] => Array.from({ length: count }, (_, i) => Number((value >> BigInt(i * 8)) & 0xffn));

/** mod and displacement bytes for a base that is there; `needs8`: the base has no form without displacement. */
function displacementOf(value: bigint, needs8: boolean, wide: number, shift: number): { mod: number; bytes: number[] } {
  if (value === 0n && !needs8) return { mod: 0, bytes: [] };
  const unit = value >> BigInt(shift);
  if (unit << BigInt(shift) === value && unit >= -128n && unit <= 127n) return { mod: 1, bytes: bytesOf(unit, 1) };
  return { mod: 2, bytes: bytesOf(value, wide) };
}

const BASE_INDEX_16: Record<string, number> = {
  '3,6': 0,
  '3,7': 1,
  '5,6': 2,
  '5,7': 3,
  '6,': 4,
  '7,': 5,
  '5,': 6,
  '3,': 7,
  '6,3': 0,
  '7,3': 1,
  '6,5': 2,
  '7,5': 3,
};

function encode16(memory: Memory, value: bigint, shift: number): Address | null {
  const extensions = { b: 0, x: 0, v: 0, relative: null };
  const signed = BigInt.asIntN(16, value);
  if (memory.base === null && memory.index === null) return { modRm: 6, tail: bytesOf(signed, 2), ...extensions };
  if (typeof memory.base === 'string' || memory.scale !== 1) return null;
  const rm = BASE_INDEX_16[`${memory.base?.number ?? ''},${memory.index?.number ?? ''}`];
  if (rm === undefined) return null;
  const { mod, bytes } = displacementOf(signed, rm === 6, 2, shift);
  return { modRm: (mod << 6) | rm, tail: bytes, ...extensions };
}

/** RSP cannot be an index: with scale 1 it becomes the base. */
function baseAndIndex(memory: Memory): { base: Register | null; index: Register | null } | null {
  const base = memory.base as Register | null;
  const { index } = memory;
  if (index === null || index.file === 'vector' || index.number !== 4) return { base, index };
  if (memory.scale !== 1 || base?.number === 4) return null;
  return { base: index, index: base };
}

function encodeSib(memory: Memory, value: bigint, shift: number): Address | null {
  const registers = baseAndIndex(memory);
  if (registers === null) return null;
  const { base, index } = registers;
  const sibIndex = index === null ? 4 : index.number & 7;
  const sib = (log2(memory.scale) << 6) | (sibIndex << 3) | ((base?.number ?? 5) & 7);
  const x = index === null ? 0 : (index.number >> 3) & 1;
  const v = index === null ? 0 : index.number >> 4;
  if (base === null) return { modRm: 4, tail: [sib, ...bytesOf(value, 4)], b: 0, x, v, relative: null };
  const { mod, bytes } = displacementOf(value, (base.number & 7) === 5, 4, shift);
  return { modRm: (mod << 6) | 4, tail: [sib, ...bytes], b: base.number >> 3, x, v, relative: null };
}

function encodeWide(memory: Memory, value: bigint, mode: number, shift: number): Address | null {
  const { base, index } = memory;
  const plain = { b: 0, x: 0, v: 0, relative: null };
  if (typeof base === 'string') {
    if (mode !== 64 || index !== null) return null;
    const relative = hasLabel(memory.displacement) ? value : null;
    return { ...plain, modRm: 5, tail: bytesOf(value, 4), relative };
  }
  if (base === null && index === null) {
    return mode === 64 ? { ...plain, modRm: 4, tail: [0x25, ...bytesOf(value, 4)] } : { ...plain, modRm: 5, tail: bytesOf(value, 4) };
  }
  if (base === null || index !== null || (base.number & 7) === 4) return encodeSib(memory, value, shift);
  const { mod, bytes } = displacementOf(value, (base.number & 7) === 5, 4, shift);
  return { ...plain, modRm: (mod << 6) | (base.number & 7), tail: bytes, b: base.number >> 3 };
}

/** The bytes of a memory operand, or null when no addressing mode takes it. */
export function encodeAddress(fields: Fields, row: OpcodeRow, shape: Shape, addressSize: number, resolve: Resolve): Address | null {
  const memory = fields.memory as Memory;
  const value = evaluate(memory.displacement, resolve);
  if (shape.mode !== 64) {
    const general = [memory.base, memory.index].filter((r): r is Register => r !== null && typeof r !== 'string');
    if (general.some((register) => register.number > 7)) return null;
  }
  const shift = row.encoding === 'evex' ? displacementShift(row, memory.broadcast !== 0, shape.vectorLength) : 0;
  if (addressSize === 16) return value >= -0x8000n && value <= 0xffffn ? encode16(memory, value, shift) : null;
  if (typeof memory.base === 'string' && hasLabel(memory.displacement)) return encodeWide(memory, value, shape.mode, shift);
  if (value < -0x80000000n || value > (addressSize === 64 ? 0x7fffffffn : 0xffffffffn)) {
    if (addressSize !== 64 || value < 0xffffffff80000000n || value > 0xffffffffffffffffn) return null;
  }
  return encodeWide(memory, BigInt.asIntN(32, value), shape.mode, shift);
}
