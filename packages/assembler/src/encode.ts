import type { OpcodeRow } from '@nestvm/isa';
import type { Address } from './address.js';
import { addressSizeOf, encodeAddress } from './address.js';
import type { Resolve } from './expression.js';
import { evaluate } from './expression.js';
import type { CodeBits, Fields, Shape } from './fields.js';
import { matchOperands } from './match.js';
import type { Memory, Operand, Rounding } from './operand.js';
import { isShadowed } from './shadow.js';

/** Prefixes that are asked for by name. */
export interface Prefixes {
  readonly lock?: boolean;
  readonly rep?: 'rep' | 'repne';
}

/** One way to encode an instruction. */
export interface Encoding {
  readonly bytes: readonly number[];
  readonly row: OpcodeRow;
  readonly operandSize: 16 | 32 | 64;
  /** Memory size that the row assumes where the operand does not say it, 0: none assumed. */
  readonly guessedBits: number;
}

/** Where and how an instruction is to be encoded. */
export interface EncodeContext {
  readonly mode: CodeBits;
  /** Address of the first byte. */
  readonly at: bigint;
  readonly resolve: Resolve;
  readonly prefixes: Prefixes;
}

const MAX_LENGTH = 15;
const MAPS: Record<string, number> = { '': 0, '0F': 1, '0F38': 2, '0F3A': 3, MAP5: 5, MAP6: 6, MAP7: 7 };
const ESCAPES: Record<string, readonly number[]> = { '': [], '0F': [0x0f], '0F38': [0x0f, 0x38], '0F3A': [0x0f, 0x3a] };
const PP: Record<number, number> = { 0: 0, 0x66: 1, 0xf3: 2, 0xf2: 3 };
const SEGMENT_PREFIXES = [0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65];
const LL: Record<number, number> = { 128: 0, 256: 1, 512: 2 };
const ROUNDINGS: Record<Rounding, number> = { 'rne-sae': 0, 'rd-sae': 1, 'ru-sae': 2, 'rz-sae': 3, sae: 0 };

/** How operand size is chosen: whether 66 and W are set, or null where the row has no such form (see the decoder's `operandSize`). */
function sizing(row: OpcodeRow, shape: Shape): { prefix66: boolean; w: number } | null {
  const { mode, operandSize } = shape;
  const { code } = row;
  const mandatory = row.encoding !== 'legacy' || code.prefix === 0x66;
  const may66 = !mandatory && code.prefix !== 0;
  if (mode !== 64) {
    if (operandSize === 64 || (row.encoding === 'legacy' && code.w === 1)) return null;
    if (row.encoding !== 'legacy') return operandSize === 32 ? { prefix66: false, w: Math.max(0, code.w) } : null;
    const prefix66 = operandSize !== mode;
    return prefix66 && !may66 ? null : { prefix66, w: 0 };
  }
  if (operandSize === 16) return may66 && code.w !== 1 && row.mode64 !== 'force64' ? { prefix66: true, w: 0 } : null;
  const implied = row.encoding === 'legacy' && (row.mode64 === 'force64' || row.mode64 === 'default64');
  if (operandSize === 32) return implied || code.w === 1 ? null : { prefix66: false, w: 0 };
  if (implied) return { prefix66: false, w: Math.max(0, code.w) };
  if (row.mode64 === 'force64') return { prefix66: false, w: Math.max(0, code.w) };
  return code.w === 0 ? null : { prefix66: false, w: 1 };
}

interface Layout {
  readonly row: OpcodeRow;
  readonly shape: Shape;
  readonly fields: Fields;
  readonly address: Address | null;
  readonly w: number;
  readonly l: number;
}

function modRmOf({ row, fields, address }: Layout): number {
  const { code } = row;
  const reg = (code.reg >= 0 ? code.reg : fields.reg) & 7;
  if (address !== null) return address.modRm | (reg << 3);
  return 0xc0 | (reg << 3) | ((code.rm >= 0 ? code.rm : fields.rm) & 7);
}

/** REX, or an empty list; null where AH to BH or the mode exclude it. */
function rexBytes({ fields, address, w, shape }: Layout): number[] | null {
  const b = address?.b ?? ((fields.z >= 0 ? fields.z : fields.rm) >> 3) & 1;
  const bits = (w << 3) | (((fields.reg >> 3) & 1) << 2) | ((address?.x ?? 0) << 1) | b;
  if (bits === 0 && !fields.rex) return [];
  return fields.noRex || shape.mode !== 64 ? null : [0x40 | bits];
}

function vexBytes({ row, fields, address, w, l }: Layout): number[] {
  const r = ((fields.reg >> 3) & 1) ^ 1;
  const x = (address?.x ?? 0) ^ 1;
  const b = (address?.b ?? (fields.rm >> 3) & 1) ^ 1;
  const vvvv = fields.vvvv < 0 ? 15 : ~fields.vvvv & 15;
  const last = (vvvv << 3) | (l << 2) | (PP[row.code.prefix as number] as number);
  if (x === 1 && b === 1 && w === 0 && row.code.map === '0F') return [0xc5, (r << 7) | last];
  return [0xc4, (r << 7) | (x << 6) | (b << 5) | (MAPS[row.code.map] as number), (w << 7) | last];
}

function evexBytes({ row, fields, address, w, l }: Layout): number[] {
  const { reg, rm } = fields;
  const vvvv = fields.vvvv < 0 ? 0 : fields.vvvv;
  const x = address === null ? (rm >> 4) & 1 : address.x;
  const b = address === null ? (rm >> 3) & 1 : address.b;
  const v = address === null || fields.vvvv >= 0 ? vvvv >> 4 : address.v;
  const invert = (bit: number, at: number): number => ((bit & 1) ^ 1) << at;
  const p0 = invert(reg >> 3, 7) | invert(x, 6) | invert(b, 5) | invert(reg >> 4, 4) | (MAPS[row.code.map] as number);
  const p1 = (w << 7) | ((~vvvv & 15) << 3) | 4 | (PP[row.code.prefix as number] as number);
  const evexB = fields.rounding !== null || (fields.memory?.broadcast ?? 0) !== 0;
  const ll = fields.rounding === null ? l : ROUNDINGS[fields.rounding];
  return [0x62, p0, p1, ((fields.zeroing ? 1 : 0) << 7) | (ll << 5) | ((evexB ? 1 : 0) << 4) | invert(v, 3) | fields.mask];
}

/** Whether mask, zeroing, rounding and broadcast are what the row allows. */
function areDecorationsAllowed(row: OpcodeRow, fields: Fields, shape: Shape): boolean {
  const { evex } = row;
  if (evex === null) return fields.mask === 0 && !fields.zeroing && fields.rounding === null;
  if (fields.rounding !== null) {
    if (fields.memory !== null || (fields.rounding === 'sae') !== (evex.rounding === 'sae') || evex.rounding === 'none') return false;
    if (row.code.l < 0 && shape.vectorLength !== 512) return false;
  }
  if (evex.mask === 'required' ? fields.mask === 0 : evex.mask === 'none' && fields.mask !== 0) return false;
  return !fields.zeroing || (evex.mask === 'zero' && fields.mask !== 0);
}

/** Address size and bytes of the memory operand; null where it cannot be encoded. */
function addressOf(row: OpcodeRow, shape: Shape, fields: Fields, resolve: Resolve): { size: number; address: Address | null; tail: number[] } | null {
  const memory: Memory | null = fields.memory ?? fields.moffs;
  const size = memory === null ? fields.addressSize || shape.mode : addressSizeOf(memory, shape.mode);
  if (memory !== null && fields.addressSize !== 0 && fields.addressSize !== size) return null;
  if (![16, 32, 64].includes(size) || (shape.mode === 64 ? size === 16 : size === 64)) return null;
  // 67 does nothing to the instructions of MPX in 64-bit mode.
  if (memory !== null && shape.mode === 64 && size !== 64 && row.operands.some((spec) => spec.method === 'BG')) return null;
  if (fields.moffs !== null) {
    const value = BigInt.asUintN(64, evaluate(fields.moffs.displacement, resolve));
    if (value >> BigInt(size) !== 0n) return null;
    return { size, address: null, tail: Array.from({ length: size / 8 }, (_, i) => Number((value >> BigInt(8 * i)) & 0xffn)) };
  }
  if (fields.memory === null) return { size, address: null, tail: [] };
  const address = encodeAddress(fields, row, shape, size, resolve);
  return address === null ? null : { size, address, tail: [] };
}

/** Prefix bytes before REX or VEX. */
function legacyPrefixes(row: OpcodeRow, fields: Fields, prefix66: boolean, addressPrefix: boolean, prefixes: Prefixes): number[] | null {
  const bytes: number[] = [];
  if (prefixes.lock) {
    if (!row.lock || fields.memory === null) return null;
    bytes.push(0xf0);
  }
  if (prefixes.rep !== undefined) {
    if (row.rep === 'none') return null;
    bytes.push(prefixes.rep === 'rep' ? 0xf3 : 0xf2);
  }
  if (fields.segment >= 0) bytes.push(SEGMENT_PREFIXES[fields.segment] as number);
  if (prefix66) bytes.push(0x66);
  if (addressPrefix) bytes.push(0x67);
  if (row.encoding === 'legacy' && typeof row.code.prefix === 'number' && row.code.prefix !== 0) bytes.push(row.code.prefix);
  return bytes;
}

/** Writes the displacement of a branch, or of RIP-relative memory, once the length is known. */
function finish(
  bytes: number[],
  at: bigint,
  shape: Shape,
  patch: { index: number; bytes: number; target: bigint; fromStart: boolean } | null,
): boolean {
  if (bytes.length > MAX_LENGTH) return false;
  if (patch === null) return true;
  const end = patch.fromStart ? BigInt(bytes.length) : at + BigInt(bytes.length);
  let delta = patch.target - end;
  // Code outside 64-bit mode wraps at its own size; 64-bit code reaches both ends of the address space.
  if (shape.mode !== 64) delta = BigInt.asIntN(shape.operandSize === 16 && patch.bytes !== 4 ? 16 : 32, delta);
  else delta = BigInt.asIntN(64, delta);
  const limit = 1n << BigInt(patch.bytes * 8 - 1);
  if (delta < -limit || delta >= limit) return false;
  for (let i = 0; i < patch.bytes; i++) bytes[patch.index + i] = Number((delta >> BigInt(8 * i)) & 0xffn);
  return true;
}

function opcodeBytes(layout: Layout): number[] | null {
  const { row, fields } = layout;
  const opcode = row.code.opcode | (fields.z >= 0 ? fields.z & 7 : 0);
  const modRm = row.code.hasModRm ? [modRmOf(layout)] : [];
  if (row.encoding === 'vex') return [...vexBytes(layout), opcode, ...modRm];
  if (row.encoding === 'evex') return [...evexBytes(layout), opcode, ...modRm];
  const rex = rexBytes(layout);
  return rex === null ? null : [...rex, ...(ESCAPES[row.code.map] as readonly number[]), opcode, ...modRm];
}

function selectorsOf(layout: Layout, prefix66: boolean): Parameters<typeof isShadowed>[1] {
  const { row, shape, fields, address, w, l } = layout;
  const { prefix } = row.code;
  const pp = typeof prefix === 'number' ? (PP[prefix] as number) : prefix66 ? 1 : 0;
  const modRm = row.code.hasModRm ? modRmOf(layout) : 0;
  return {
    mode64: shape.mode === 64,
    pp,
    w,
    l,
    modRegister: address === null,
    reg: (modRm >> 3) & 7,
    rm: address === null ? fields.rm & 7 : modRm & 7,
  };
}

/** Encodes the operands by one row in one shape, or null when that cannot be. */
export function encodeForm(row: OpcodeRow, operands: readonly Operand[], shape: Shape, context: EncodeContext): Encoding | null {
  const size = sizing(row, shape);
  if (size === null) return null;
  const fields = matchOperands(row, operands, shape, context.resolve);
  if (fields === null || !areDecorationsAllowed(row, fields, shape)) return null;
  if (row.code.modIgnored !== true && row.code.mod === 'memory' && fields.memory === null) return null;
  // XCHG of the accumulator with itself is NOP's encoding.
  if (row.mnemonic === 'XCHG' && fields.z === 0) return null;
  const place = addressOf(row, shape, fields, context.resolve);
  if (place === null) return null;
  const layout: Layout = { row, shape, fields, address: place.address, w: size.w, l: LL[shape.vectorLength] as number };
  if (isShadowed(row, selectorsOf(layout, size.prefix66))) return null;
  const prefixes = legacyPrefixes(row, fields, size.prefix66, place.size !== shape.mode, context.prefixes);
  const opcode = opcodeBytes(layout);
  if (prefixes === null || opcode === null) return null;
  const bytes = [...prefixes, ...opcode];
  let patch: Parameters<typeof finish>[3] = null;
  const relative = place.address?.relative ?? null;
  if (relative !== null) patch = { index: bytes.length, bytes: 4, target: relative, fromStart: false };
  bytes.push(...(place.address?.tail ?? []), ...place.tail, ...fields.immediate);
  if (fields.branch !== null) {
    patch = { index: bytes.length, ...fields.branch };
    bytes.push(...new Array<number>(fields.branch.bytes).fill(0));
  }
  if (!finish(bytes, context.at, shape, patch)) return null;
  return { bytes, row, operandSize: shape.operandSize, guessedBits: fields.guessedBits };
}
