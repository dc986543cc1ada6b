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
export const Space = { LEGACY: 0, VEX: 4 * 256, EVEX: 8 * 256 } as const;
const MAPS: Record<string, number> = { '': 0, '0F': 1, '0F38': 2, '0F3A': 3, MAP5: 5, MAP6: 6 };
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

/** The values of one dimension that a row accepts, or null when it does not care. */
function accepted(row: OpcodeRow, bit: number): readonly number[] | null {
  const { code } = row;
  switch (bit) {
    case Dim.MODE:
      return row.mode64 === 'only' ? [1] : row.mode64 === 'invalid' ? [0] : null;
    case Dim.PP:
      return code.prefix === 'any' ? null : code.prefix === 'nfx' ? [0, 1] : [{ 0: 0, 0x66: 1, 0xf3: 2, 0xf2: 3 }[code.prefix]];
    case Dim.W:
      return code.w < 0 ? null : [code.w];
    case Dim.L:
      return code.l < 0 ? null : [code.l];
    case Dim.MOD:
      return code.mod === 'any' ? null : [code.mod === 'register' ? 1 : 0];
    case Dim.REG:
      return code.reg < 0 ? null : [code.reg];
    case Dim.RM:
      return code.rm < 0 ? null : [code.rm];
    default:
      return row.mnemonic === 'NOP' && code.map === '' ? [0] : null;
  }
}

/** How many dimensions a row fixes; a mandatory prefix outweighs REX.B (PAUSE against NOP). */
const specificity = (row: OpcodeRow): number => DIMS.reduce((n, { bit }) => n + (accepted(row, bit) === null ? 0 : bit === Dim.REX_B ? 1 : 2), 0);

/** Bits of the leaf index below a dimension. */
function widthBelow(shape: number, bit: number): number {
  return DIMS.reduce((sum, dim) => (dim.bit > bit && (shape & dim.bit) !== 0 ? sum + dim.width : sum), 0);
}

function fill(row: OpcodeRow, shape: number, leaves: Int16Array): void {
  let indices = [0];
  for (const { bit, width } of DIMS) {
    if ((shape & bit) === 0) continue;
    const values = accepted(row, bit) ?? Array.from({ length: 1 << width }, (_, i) => i);
    indices = indices.flatMap((index) => values.map((value) => (index << width) | value));
  }
  // Where W is ignored outside 64-bit mode the row also takes W1 there.
  if (row.code.wIgnored32) {
    const below = widthBelow(shape, Dim.W);
    for (const index of indices) if (index >> widthBelow(shape, Dim.MODE) === 0) leaves[index | (1 << below)] = row.id;
  }
  for (const index of indices) {
    const other = leaves[index] as number;
    if (other < 0) leaves[index] = row.id;
    else if (specificity(opcodeRows[other] as OpcodeRow) === specificity(row)) {
      throw new DecoderError(
        'ambiguous-rows',
        `rows ${other} and ${row.id} (${opcodeRows[other]?.mnemonic}, ${row.mnemonic}, opcode ${row.code.opcode.toString(16)}) match the same bytes; make one more specific`,
      );
    }
  }
}

function cellOf(row: OpcodeRow): number {
  const space = row.encoding === 'legacy' ? Space.LEGACY : row.encoding === 'vex' ? Space.VEX : Space.EVEX;
  return space + (MAPS[row.code.map] as number) * 256 + row.code.opcode;
}

function groupByCell(): Map<number, OpcodeRow[]> {
  const groups = new Map<number, OpcodeRow[]>();
  for (const row of opcodeRows) {
    for (let i = 0; i < (row.code.zOperand ? 8 : 1); i++) {
      const cell = cellOf(row) + i;
      groups.set(cell, [...(groups.get(cell) ?? []), row]);
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
  let base = 0;
  for (const [cell, rows] of groupByCell()) {
    const shape = DIMS.reduce((bits, { bit }) => (rows.some((row) => accepted(row, bit) !== null) ? bits | bit : bits), 0);
    const width = DIMS.reduce((sum, dim) => ((shape & dim.bit) !== 0 ? sum + dim.width : sum), 0);
    const leaves = new Int16Array(1 << width).fill(-1);
    for (const row of [...rows].sort((a, b) => specificity(b) - specificity(a))) fill(row, shape, leaves);
    const modRm = rows.some((row) => row.code.hasModRm);
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
