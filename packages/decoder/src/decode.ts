import type { Mnemonic, OpcodeRow } from '@nestvm/isa';
import { opcodeRows } from '@nestvm/isa';
import { isEncodable } from './checks.js';
import { disp8Shift } from './disp8.js';
import { buildDispatch, CELL_BASE_SHIFT, CELL_MODRM, CELL_SHAPE, Dim, Space } from './dispatch.js';
import type { Instruction } from './instruction.js';
import { NO_REGISTER, Prefix, RIP_REGISTER } from './instruction.js';
import { buildPlans, Imm, PLAN_IMMEDIATE, Plan } from './plan.js';
import { DecodeStatus } from './status.js';

const MAX_LENGTH = 15;
/** More than any read can reach: fifteen prefixes, then the longest rest. */
const WINDOW = 48;

const { cells, leaves } = /* @__PURE__ */ buildDispatch();
const plans = /* @__PURE__ */ buildPlans();
const rows: readonly OpcodeRow<Mnemonic>[] = opcodeRows;
const scratch = new Uint8Array(WINDOW);

// The decoder's registers: module variables, since the hot path may not allocate. Decoding is not re-entrant and need not be.
let source = scratch;
let position = 0;
let prefixes = 0;
let segmentOverride = -1;
let rexR = 0;
let rexX = 0;
let rexB = 0;
let wBit = 0;
let lBits = 0;
let pp = 0;
let registerImmediateMask = 0xff;
/** VEX.vvvv / EVEX.V'vvvv as encoded (inverted), where a row without that operand needs all ones; 0 is that. */
let vvvvBits = 0;

/** 0: not a prefix; 1: REX in 64-bit mode; 2: lock; 3: F2; 4: F3; 5: 66; 6: 67; 8 + n: segment n. */
const PREFIX_KIND = new Uint8Array(256);
for (let i = 0x40; i < 0x50; i++) PREFIX_KIND[i] = 1;
PREFIX_KIND[0xf0] = 2;
PREFIX_KIND[0xf2] = 3;
PREFIX_KIND[0xf3] = 4;
PREFIX_KIND[0x66] = 5;
PREFIX_KIND[0x67] = 6;
[0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65].forEach((byte, segment) => {
  PREFIX_KIND[byte] = 8 + segment;
});

const DS_PREFIX = 8 + 3;

/** Applies a legacy prefix. F2 and F3: the last one counts. In 64-bit mode ES, CS, SS and DS prefixes do nothing, not even undo FS or GS. */
function applyPrefix(kind: number, mode: number): void {
  switch (kind) {
    case 2:
      prefixes |= Prefix.LOCK;
      return;
    case 3:
      prefixes = (prefixes & ~Prefix.REP) | Prefix.REPNE;
      return;
    case 4:
      prefixes = (prefixes & ~Prefix.REPNE) | Prefix.REP;
      return;
    case 5:
      prefixes |= Prefix.OPERAND_SIZE;
      return;
    case 6:
      prefixes |= Prefix.ADDRESS_SIZE;
      return;
    default:
      prefixes = kind === DS_PREFIX ? prefixes | Prefix.SEGMENT | Prefix.NOTRACK : (prefixes & ~Prefix.NOTRACK) | Prefix.SEGMENT;
      if (mode !== 64 || kind >= 12) segmentOverride = kind - 8;
  }
}

/** Reads prefixes and returns the first opcode byte, or -1 when fifteen bytes hold nothing else. A REX counts only right before the opcode. */
function readPrefixes(mode: number): number {
  const start = position;
  let rex = 0;
  let byte = source[position++] as number;
  for (let kind = PREFIX_KIND[byte] as number; kind !== 0; kind = PREFIX_KIND[byte] as number) {
    if (kind === 1) {
      if (mode !== 64) break;
      rex = byte;
    } else {
      rex = 0;
      applyPrefix(kind, mode);
    }
    if (position - start > MAX_LENGTH) return -1;
    byte = source[position++] as number;
  }
  if (rex !== 0) {
    prefixes |= (rex & 8) !== 0 ? Prefix.REX | Prefix.REX_W : Prefix.REX;
    wBit = (rex >> 3) & 1;
    rexR = (rex & 4) << 1;
    rexX = (rex & 2) << 2;
    rexB = (rex & 1) << 3;
  }
  return byte;
}

const NOT_WITH_VEX = Prefix.LOCK | Prefix.REPNE | Prefix.REP | Prefix.OPERAND_SIZE | Prefix.REX;

/** Reads the rest of a two- or three-byte VEX prefix and the opcode; returns the cell, -1 for #UD. */
function readVex(insn: Instruction, first: number, mode: number): number {
  const byte1 = source[position++] as number;
  let last = byte1;
  let map = 1;
  rexR = (~byte1 & 0x80) >> 4;
  if (first === 0xc4) {
    last = source[position++] as number;
    map = byte1 & 0x1f;
    rexX = (~byte1 & 0x40) >> 3;
    rexB = (~byte1 & 0x20) >> 2;
    wBit = last >> 7;
  }
  insn.vvvv = vvvvBits = (~last >> 3) & 0xf;
  if (mode !== 64) {
    rexR = rexX = rexB = 0;
    insn.vvvv &= 7;
  }
  lBits = (last >> 2) & 1;
  pp = last & 3;
  const illegal = (prefixes & NOT_WITH_VEX) !== 0;
  prefixes |= Prefix.VEX;
  insn.vectorLength = 128 << lBits;
  insn.opcode = source[position++] as number;
  return illegal || map > 7 ? -1 : Space.VEX + (map << 8) + insn.opcode;
}

/** Reads the rest of an EVEX prefix and the opcode; returns the cell, -1 for #UD. Bit 3 of the R, X, B and vvvv fields stays here, bit 4 goes with it. */
function readEvex(insn: Instruction, mode: number): number {
  const p0 = source[position++] as number;
  const p1 = source[position++] as number;
  const p2 = source[position++] as number;
  rexR = ((~p0 & 0x80) >> 4) | (~p0 & 0x10);
  rexX = (~p0 & 0x40) >> 3;
  rexB = (~p0 & 0x20) >> 2;
  wBit = p1 >> 7;
  insn.vvvv = vvvvBits = ((~p1 >> 3) & 0xf) | ((~p2 & 8) << 1);
  let illegal = (prefixes & NOT_WITH_VEX) !== 0 || (p0 & 8) !== 0 || (p1 & 4) === 0;
  if (mode !== 64) {
    illegal ||= (p2 & 8) === 0;
    rexR = rexX = rexB = 0;
    insn.vvvv &= 7;
  }
  pp = p1 & 3;
  lBits = insn.evexLL = (p2 >> 5) & 3;
  insn.mask = p2 & 7;
  insn.zeroing = (p2 & 0x80) !== 0;
  insn.evexB = (p2 & 0x10) !== 0;
  prefixes |= Prefix.EVEX;
  insn.opcode = source[position++] as number;
  return illegal ? -1 : Space.EVEX + ((p0 & 7) << 8) + insn.opcode;
}

/** EVEX.b with register operands turns L'L into a rounding mode and means 512 bits. */
function setEvexLength(insn: Instruction, modRm: number): void {
  if (insn.evexB && modRm >= 0xc0) lBits = 2;
  insn.vectorLength = lBits === 3 ? 512 : 128 << lBits;
}

/** Reads legacy escape bytes and the opcode; returns the cell. */
function readLegacyOpcode(insn: Instruction, first: number): number {
  pp = (prefixes & Prefix.REP) !== 0 ? 2 : (prefixes & Prefix.REPNE) !== 0 ? 3 : (prefixes & Prefix.OPERAND_SIZE) !== 0 ? 1 : 0;
  let map = 0;
  let opcode = first;
  if (first === 0x0f) {
    opcode = source[position++] as number;
    map = 1;
    if (opcode === 0x38 || opcode === 0x3a) {
      map = opcode === 0x38 ? 2 : 3;
      opcode = source[position++] as number;
    }
  }
  insn.opcode = opcode;
  return (map << 8) + opcode;
}

/** The VEX and EVEX vector-length selectors share a dimension; legacy rows never look at it. */
function leafIndex(shape: number, modRm: number, mode: number): number {
  let index = 0;
  if ((shape & Dim.MODE) !== 0) index = mode >> 6;
  if ((shape & Dim.PP) !== 0) index = (index << 2) | pp;
  if ((shape & Dim.W) !== 0) index = (index << 1) | wBit;
  if ((shape & Dim.L) !== 0) index = (index << 2) | lBits;
  if ((shape & Dim.MOD) !== 0) index = (index << 1) | (modRm >= 0xc0 ? 1 : 0);
  if ((shape & Dim.REG) !== 0) index = (index << 3) | ((modRm >> 3) & 7);
  if ((shape & Dim.RM) !== 0) index = (index << 3) | (modRm & 7);
  if ((shape & Dim.REX_B) !== 0) index = (index << 1) | (rexB >> 3);
  return index;
}

function readI32(): number {
  const at = position;
  position = at + 4;
  return (source[at] as number) | ((source[at + 1] as number) << 8) | ((source[at + 2] as number) << 16) | ((source[at + 3] as number) << 24);
}

function readU16(): number {
  const at = position;
  position = at + 2;
  return (source[at] as number) | ((source[at + 1] as number) << 8);
}

function readI8(): number {
  return ((source[position++] as number) << 24) >> 24;
}

// [BX+SI] [BX+DI] [BP+SI] [BP+DI] [SI] [DI] [BP] [BX]
const BASE_16 = [3, 3, 5, 5, 6, 7, 5, 3];
const INDEX_16 = [6, 7, 6, 7, NO_REGISTER, NO_REGISTER, NO_REGISTER, NO_REGISTER];

function readMemory16(insn: Instruction, mod: number, rm: number, shift: number): void {
  if (mod === 0 && rm === 6) {
    insn.displacementBytes = 2;
    insn.displacement = (readU16() << 16) >> 16;
    return;
  }
  insn.base = BASE_16[rm] as number;
  insn.index = INDEX_16[rm] as number;
  if (insn.base === 5 && segmentOverride < 0) insn.segment = 2;
  if (mod === 0) return;
  insn.displacementBytes = mod;
  insn.displacement = mod === 1 ? readI8() << shift : (readU16() << 16) >> 16;
}

function readSib(insn: Instruction, mod: number, vsib: number): void {
  const sib = source[position++] as number;
  const index = ((sib >> 3) & 7) | rexX;
  insn.scale = sib >> 6;
  // EVEX.V' extends a vector index, which may also be number 4.
  if (vsib !== 0) insn.index = index | (insn.vvvv & 0x10);
  else if (index !== 4) insn.index = index;
  if ((sib & 7) === 5 && mod === 0) {
    insn.displacementBytes = 4;
    insn.displacement = readI32();
  } else insn.base = (sib & 7) | (rexB & 8);
}

function readMemory(insn: Instruction, mod: number, rm: number, mode: number, plan: number, shift: number): void {
  if (rm === 4) readSib(insn, mod, plan & Plan.VSIB);
  else if (rm === 5 && mod === 0) {
    if (mode === 64) insn.base = RIP_REGISTER;
    insn.displacementBytes = 4;
    insn.displacement = readI32();
    return;
  } else insn.base = rm | (rexB & 8);
  if ((insn.base === 4 || insn.base === 5) && segmentOverride < 0) insn.segment = 2;
  if (mod === 1) {
    insn.displacementBytes = 1;
    insn.displacement = readI8() << shift;
  } else if (mod === 2) {
    insn.displacementBytes = 4;
    insn.displacement = readI32();
  }
}

function readModRm(insn: Instruction, modRm: number, mode: number, plan: number): void {
  const mod = modRm >> 6;
  const rm = modRm & 7;
  insn.hasModRm = true;
  insn.reg = ((modRm >> 3) & 7) | ((plan & Plan.REG_OF_8) !== 0 ? 0 : rexR);
  if (mod === 3 || (plan & Plan.MOD_IGNORED) !== 0) {
    insn.mod = 3;
    insn.rm = (plan & Plan.RM_OF_8) !== 0 ? rm : rm | rexB;
    // EVEX.X is the fifth bit of a vector register in rm.
    if ((plan & Plan.HAS_VECTOR_RM) !== 0 && (prefixes & Prefix.EVEX) !== 0) insn.rm |= rexX << 1;
    return;
  }
  insn.mod = mod;
  insn.rm = rm | rexB;
  const shift = (prefixes & Prefix.EVEX) !== 0 ? disp8Shift(insn) : 0;
  if (insn.addressSize === 16) readMemory16(insn, mod, rm, shift);
  else readMemory(insn, mod, rm, mode, plan, shift);
}

function setImmediate(insn: Instruction, value: number): void {
  insn.immediate = value;
  insn.immediateHigh = value >> 31;
}

function readMoffs(insn: Instruction): void {
  insn.displacementBytes = insn.addressSize >> 3;
  insn.displacement = insn.addressSize === 16 ? readU16() : readI32();
  if (insn.addressSize === 64) insn.displacementHigh = readI32();
}

/** Reads what follows displacements: immediates, or the address of moffs. */
function readRest(insn: Instruction, kind: number): void {
  if (kind === Imm.MOFFS) {
    readMoffs(insn);
    return;
  }
  const start = position;
  readImmediate(insn, kind);
  insn.immediateBytes = position - start;
}

function readImmediate(insn: Instruction, kind: number): void {
  switch (kind) {
    case Imm.BYTE:
      insn.immediate = source[position++] as number;
      return;
    case Imm.SIGNED_BYTE:
      setImmediate(insn, readI8());
      return;
    case Imm.WORD:
      insn.immediate = readU16();
      return;
    case Imm.Z:
      setImmediate(insn, insn.operandSize === 16 ? (readU16() << 16) >> 16 : readI32());
      return;
    case Imm.V:
      setImmediate(insn, insn.operandSize === 16 ? (readU16() << 16) >> 16 : readI32());
      if (insn.operandSize === 64) insn.immediateHigh = readI32();
      return;
    case Imm.ENTER:
      insn.immediate = readU16();
      insn.immediate2 = source[position++] as number;
      return;
    case Imm.FAR:
      insn.immediate = insn.operandSize === 16 ? readU16() : readI32();
      insn.immediate2 = readU16();
      return;
    case Imm.TWO_BYTES:
      insn.immediate = source[position++] as number;
      insn.immediate2 = source[position++] as number;
      return;
    default:
      insn.immediate = (source[position++] as number) & registerImmediateMask;
  }
}

function clear(insn: Instruction): void {
  insn.hasModRm = insn.zeroing = insn.evexB = false;
  insn.mod = insn.reg = insn.rm = insn.scale = 0;
  insn.base = insn.index = NO_REGISTER;
  insn.displacement = insn.displacementHigh = insn.displacementBytes = 0;
  insn.immediate = insn.immediateHigh = insn.immediate2 = insn.immediateBytes = 0;
  insn.vvvv = insn.vectorLength = insn.mask = insn.evexLL = 0;
  prefixes = wBit = rexR = rexX = rexB = lBits = vvvvBits = 0;
  segmentOverride = -1;
}

function operandSizeOf(plan: number, mode: number): 16 | 32 | 64 {
  const has66 = (prefixes & Prefix.OPERAND_SIZE) !== 0 && (plan & Plan.MANDATORY_66) === 0;
  if (mode !== 64) return (mode === 16) === has66 || (prefixes & (Prefix.VEX | Prefix.EVEX)) !== 0 ? 32 : 16;
  if (wBit !== 0 || (plan & Plan.FORCE64) !== 0) return 64;
  if (has66) return 16;
  return (plan & Plan.DEFAULT64) !== 0 ? 64 : 32;
}

function addressSizeOf(plan: number, mode: 16 | 32 | 64): 16 | 32 | 64 {
  if ((prefixes & Prefix.ADDRESS_SIZE) === 0 || (mode === 64 && (plan & Plan.ADDRESS64) !== 0)) return mode;
  return mode === 32 ? 16 : 32;
}

/** Decodes at `position`; false is #UD or too long, told apart by how far `position` got. */
function decode(insn: Instruction, mode: 16 | 32 | 64): boolean {
  clear(insn);
  registerImmediateMask = mode === 64 ? 0xff : 0x7f;
  const first = readPrefixes(mode);
  if (first < 0) return false;
  let cellIndex: number;
  if ((first === 0xc4 || first === 0xc5) && (mode === 64 || (source[position] as number) >= 0xc0)) cellIndex = readVex(insn, first, mode);
  else if (first === 0x62 && (mode === 64 || (source[position] as number) >= 0xc0)) cellIndex = readEvex(insn, mode);
  else cellIndex = readLegacyOpcode(insn, first);
  if (cellIndex < 0) return false;
  const cell = cells[cellIndex] as number;
  if (cell < 0) return false;
  const modRm = (cell & CELL_MODRM) !== 0 ? (source[position++] as number) : -1;
  if ((prefixes & Prefix.EVEX) !== 0) setEvexLength(insn, modRm);
  const shape = cell & CELL_SHAPE;
  const rowId = leaves[(cell >>> CELL_BASE_SHIFT) + (shape === 0 ? 0 : leafIndex(shape, modRm, mode))] as number;
  if (rowId < 0) return false;
  const plan = plans[rowId] as number;
  insn.row = rows[rowId] as OpcodeRow<Mnemonic>;
  insn.prefixes = prefixes;
  insn.mode = mode;
  insn.operandSize = operandSizeOf(plan, mode);
  insn.addressSize = addressSizeOf(plan, mode);
  insn.segment = segmentOverride < 0 ? 3 : segmentOverride;
  if ((plan & Plan.SSE) !== 0) insn.vectorLength = 128;
  if (modRm >= 0) readModRm(insn, modRm, mode, plan);
  else if ((plan & Plan.Z_OPERAND) !== 0) insn.rm = (insn.opcode & 7) | rexB;
  if ((plan & PLAN_IMMEDIATE) !== 0) readRest(insn, plan & PLAN_IMMEDIATE);
  if ((prefixes & Prefix.LOCK) !== 0 && ((plan & Plan.LOCK) === 0 || insn.mod === 3)) return false;
  if ((prefixes & (Prefix.VEX | Prefix.EVEX)) !== 0 && vvvvBits !== 0 && (plan & Plan.USES_VVVV) === 0 && !isVsibExtension(plan)) return false;
  return (plan & Plan.CHECKED) === 0 || isEncodable(insn);
}

/** With a vector index, EVEX.V' is the index register's and the rest of vvvv must be unused. */
function isVsibExtension(plan: number): boolean {
  return (plan & Plan.VSIB) !== 0 && (vvvvBits & 0xf) === 0;
}

/**
 * Decodes one instruction at `bytes[offset]` into `target`, looking at no more than `available` bytes, in a code segment of `mode` bits.
 *
 * Returns its length (1 to 15), or a negative `DecodeStatus`: NEED_MORE (`available` ends first), INVALID (#UD), TOO_LONG (#GP). Bytes of `bytes` after the
 * available ones may hold anything. Follows Intel where vendors differ: near branches in 64-bit mode ignore 66.
 * Nothing is allocated; after a negative result `target` is undefined.
 */
export function decodeInto(target: Instruction, bytes: Uint8Array, offset: number, available: number, mode: 16 | 32 | 64): number {
  let start = offset;
  if (offset + WINDOW > bytes.length) {
    scratch.fill(0);
    const count = Math.min(MAX_LENGTH, bytes.length - offset);
    for (let i = 0; i < count; i++) scratch[i] = bytes[offset + i] as number;
    source = scratch;
    start = 0;
  } else source = bytes as Uint8Array<ArrayBuffer>;
  position = start;
  const valid = decode(target, mode);
  const used = position - start;
  if (used > available && available < MAX_LENGTH) return DecodeStatus.NEED_MORE;
  if (used > MAX_LENGTH) return DecodeStatus.TOO_LONG;
  if (!valid) return DecodeStatus.INVALID;
  target.length = used;
  return used;
}
