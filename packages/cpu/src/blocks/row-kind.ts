import { type OpcodeRow, opcodeRows } from '@nestvm/isa';
import { systemMeanings } from '@nestvm/semantics';
import { SYSTEM_INSTRUCTIONS } from '../system/index.js';

/**
 * What a row needs beside its fields. A direct jump has links; a system instruction has its `SystemRecord`, and so has one whose emitter does the plain
 * case and leaves for all others.
 */
export const RowKind = { UNKNOWN: 0, PLAIN: 1, JUMP: 2, SYSTEM: 3, LEAVES: 4 } as const;
const kinds = new Uint8Array(opcodeRows.length);

function findKind(row: OpcodeRow): number {
  if (row.operands[0]?.method === 'J') return RowKind.JUMP;
  if (row.mnemonic in systemMeanings) return RowKind.LEAVES;
  return row.mnemonic in SYSTEM_INSTRUCTIONS ? RowKind.SYSTEM : RowKind.PLAIN;
}

/** The kind of a row: a `RowKind`. */
export const kindOf = (row: OpcodeRow): number => kinds[row.id]! || (kinds[row.id] = findKind(row));
