import type { OpcodeRow } from '@nestvm/isa';
import { packKey } from './facts.js';

const CONDITIONS = ['O', 'NO', 'B', 'AE', 'E', 'NE', 'BE', 'A', 'S', 'NS', 'P', 'NP', 'L', 'GE', 'LE', 'G'];
/** What compiled code consists of, by how often kernels and programs run it. */
const COMMON = new Set([
  'MOV',
  'ADD',
  'ADC',
  'SUB',
  'SBB',
  'AND',
  'OR',
  'XOR',
  'CMP',
  'TEST',
  'LEA',
  'MOVZX',
  'MOVSX',
  'MOVSXD',
  'SHL',
  'SHR',
  'SAR',
  'ROL',
  'ROR',
  'INC',
  'DEC',
  'NEG',
  'NOT',
  'IMUL',
  'MUL',
  'DIV',
  'PUSH',
  'POP',
  'CALL',
  'RET',
  'JMP',
  'NOP',
  'XCHG',
  'XADD',
  'CMPXCHG',
  'BT',
  'BTS',
  'BTR',
  'CBW',
  'CWD',
  'BSWAP',
  'LEAVE',
  'BSF',
  'BSR',
  'SHRD',
  'SHLD',
  'CLD',
  'LFENCE',
  'ENDBR64',
  ...CONDITIONS.map((c) => `J${c}`),
  ...CONDITIONS.map((c) => `CMOV${c}`),
  ...CONDITIONS.map((c) => `SET${c}`),
]);
/** Rows that kernels repeat with REP. */
const REPEATED = new Set(['MOVS', 'STOS']);
const SIZED = new Set(['v', 'z', 'y']);

/** Sizes that make a difference for a row: byte instructions and 64-bit defaults have one. */
function sizesOf(row: OpcodeRow): readonly (32 | 64)[] {
  if (row.mode64 === 'force64' || row.mode64 === 'default64') return [64];
  return row.operands.length === 0 || row.operands.some((o) => SIZED.has(o.type) || o.method === 'rAX') ? [32, 64] : [32];
}

/**
 * Keys of the handlers that 64-bit code needs most. They are compiled together at the start: few large modules start faster, and run faster,
 * than many small ones.
 */
export function seedKeys(rows: readonly OpcodeRow[]): number[] {
  const keys: number[] = [];
  for (const row of rows) {
    if (row.encoding !== 'legacy' || row.mode64 === 'invalid') continue;
    const repeated = REPEATED.has(row.mnemonic);
    if (!COMMON.has(row.mnemonic) && !repeated) continue;
    const either = row.operands.some((o) => o.method === 'E');
    const always = row.operands.some((o) => o.method === 'M' || o.method === 'O');
    for (const operandSize of sizesOf(row)) {
      const key = (memory: boolean, indexed: boolean, rep = 0): number => packKey({ id: row.id, operandSize, memory, indexed, rep });
      if (repeated) keys.push(key(true, false), key(true, false, 1));
      else {
        if (!always) keys.push(key(false, false));
        if (always || either) keys.push(key(true, false), key(true, true));
      }
    }
  }
  return [...new Set(keys)];
}
