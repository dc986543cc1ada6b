import type { OpcodeRow } from '@nestvm/isa';
import { opcodeRows } from '@nestvm/isa';
import { DecoderError } from './errors.js';

/** What selects among the rows of one opcode, besides the opcode: bits of a cell's shape, most significant in the leaf index first. */
export const Dim = { MODE: 1, PP: 2, W: 4, L: 8, MOD: 16, REG: 32, RM: 64, REX_B: 128 } as const;

/** Bits of a cell: its shape (`Dim`), whether ModRM follows, and from `CELL_BASE_SHIFT` on where its leaves start. A negative cell has no rows. */
export const CELL_SHAPE = 0xff;
export const CELL_MODRM = 0x100;
export const CELL_BASE_SHIFT = 9;

/** First cell of each encoding space; the opcode map's number is added in steps of 256. */
export const Space = { LEGACY: 0, VEX: 4 * 256, EVEX: 12 * 256 } as const;
const MAPS: Record<string, number> = { '': 0, '0F': 1, '0F38': 2, '0F3A': 3, MAP5: 5, MAP6: 6, MAP7: 7 };
const CELL_COUNT = Space.EVEX + 8 * 256;

const DIMS = [
  { bit: Dim.MODE, width: 1 },
  { bit: Dim.PP, width: 2 },
  { bit: Dim.W, width: 1 },
  { bit: Dim.L, width: 2 },
  { bit: Dim.MOD, width: 1 },
  { bit: Dim.REG, width: 3 },
  { bit: Dim.RM, width: 3 },
  { bit: Dim.REX_B, width: 1 },
] as const;

const PREFIXES = new Map<number, number>([
  [0, 1 << 0],
  [0x66, 1 << 1],
  [0xf3, 1 << 2],
  [0xf2, 1 << 3],
]);

/** The values of one dimension that a row accepts, as bits, or 0 when it does not care. */
function accepted({ code, mode64, mnemonic }: OpcodeRow, bit: number): number {
  switch (bit) {
    case Dim.MODE:
      return mode64 === 'only' ? 2 : mode64 === 'invalid' ? 1 : 0;
    case Dim.PP:
      return code.prefix === 'any' ? 0 : code.prefix === 'nfx' ? 3 : (PREFIXES.get(code.prefix) as number);
    case Dim.W:
      return code.w < 0 ? 0 : 1 << code.w;
    case Dim.L:
      return code.l < 0 ? 0 : 1 << code.l;
    case Dim.MOD:
      return code.mod === 'any' ? 0 : code.mod === 'register' ? 2 : 1;
    case Dim.REG:
      return code.reg < 0 ? 0 : 1 << code.reg;
    case Dim.RM:
      return code.rm < 0 ? 0 : 1 << code.rm;
    default:
      return mnemonic === 'NOP' && code.map === '' ? 1 : 0;
  }
}

/** A row with what it accepts, by the index of the dimension. */
interface Candidate {
  readonly row: OpcodeRow;
  readonly accepts: Uint8Array;
  /** Dimensions that it fixes, as bits. */
  readonly fixes: number;
  /** How many they are; a mandatory prefix outweighs REX.B (PAUSE against NOP). */
  readonly specificity: number;
}

function candidate(row: OpcodeRow): Candidate {
  const accepts = new Uint8Array(DIMS.length);
  let fixes = 0;
  let specificity = 0;
  for (let i = 0; i < DIMS.length; i++) {
    const { bit } = DIMS[i] as (typeof DIMS)[number];
    const values = (accepts[i] = accepted(row, bit));
    if (values === 0) continue;
    fixes |= bit;
    specificity += bit === Dim.REX_B ? 1 : 2;
  }
  return { row, accepts, fixes, specificity };
}

/** Bits of the leaf index below a dimension. */
function widthBelow(shape: number, bit: number): number {
  return DIMS.reduce((sum, dim) => (dim.bit > bit && (shape & dim.bit) !== 0 ? sum + dim.width : sum), 0);
}

/** Every leaf that a row matches, as `put` gets it, from dimension `i` on. */
function eachLeaf(accepts: Uint8Array, shape: number, i: number, index: number, put: (leaf: number) => void): void {
  for (; i < DIMS.length; i++) {
    const { bit, width } = DIMS[i] as (typeof DIMS)[number];
    if ((shape & bit) === 0) continue;
    const values = accepts[i] as number;
    for (let value = 0; value < 1 << width; value++)
      if (values === 0 || (values >> value) & 1) eachLeaf(accepts, shape, i + 1, (index << width) | value, put);
    return;
  }
  put(index);
}

function fill({ row, accepts, specificity }: Candidate, shape: number, leaves: Int16Array, candidates: readonly Candidate[]): void {
  // Where W is ignored outside 64-bit mode the row also takes W1 there.
  if (row.code.wIgnored32) {
    const [below, mode] = [widthBelow(shape, Dim.W), widthBelow(shape, Dim.MODE)];
    eachLeaf(accepts, shape, 0, 0, (leaf) => {
      if (leaf >> mode === 0) leaves[leaf | (1 << below)] = row.id;
    });
  }
  eachLeaf(accepts, shape, 0, 0, (leaf) => {
    const other = leaves[leaf] as number;
    if (other < 0) leaves[leaf] = row.id;
    else if (candidates[other]?.specificity === specificity) {
      throw new DecoderError(
        'ambiguous-rows',
        `rows ${other} and ${row.id} (${opcodeRows[other]?.mnemonic}, ${row.mnemonic}, opcode ${row.code.opcode.toString(16)}) match the same bytes; make one more specific`,
      );
    }
  });
}

function cellOf(row: OpcodeRow): number {
  const space = row.encoding === 'legacy' ? Space.LEGACY : row.encoding === 'vex' ? Space.VEX : Space.EVEX;
  return space + (MAPS[row.code.map] as number) * 256 + row.code.opcode;
}

function groupByCell(candidates: readonly Candidate[]): Map<number, Candidate[]> {
  const groups = new Map<number, Candidate[]>();
  for (const one of candidates) {
    for (let i = 0; i < (one.row.code.zOperand ? 8 : 1); i++) {
      const cell = cellOf(one.row) + i;
      const group = groups.get(cell);
      if (group === undefined) groups.set(cell, [one]);
      else group.push(one);
    }
  }
  return groups;
}

/** The tables of the decoder, derived from the opcode rows: `cells` by space, map and opcode; `leaves` are row ids, -1 where no row matches. */
export interface DispatchTables {
  readonly cells: Int32Array;
  readonly leaves: Int16Array;
}

/** Builds the tables; of two rows that match the same bytes the more specific one wins, and equals are an error. */
export function buildDispatch(): DispatchTables {
  const cells = new Int32Array(CELL_COUNT).fill(-1);
  const parts: Int16Array[] = [];
  const candidates = opcodeRows.map(candidate);
  let base = 0;
  for (const [cell, rows] of groupByCell(candidates)) {
    const shape = rows.reduce((bits, { fixes }) => bits | fixes, 0);
    const width = DIMS.reduce((sum, dim) => ((shape & dim.bit) !== 0 ? sum + dim.width : sum), 0);
    const leaves = new Int16Array(1 << width).fill(-1);
    for (const row of [...rows].sort((a, b) => b.specificity - a.specificity)) fill(row, shape, leaves, candidates);
    const modRm = rows.some(({ row }) => row.code.hasModRm);
    cells[cell] = (base << CELL_BASE_SHIFT) | (modRm ? CELL_MODRM : 0) | shape;
    parts.push(leaves);
    base += leaves.length;
  }
  const all = new Int16Array(base);
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return { cells, leaves: all };
}
