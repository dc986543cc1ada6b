import type { OpcodeRow } from '@nestvm/isa';
import { opcodeRows } from '@nestvm/isa';

/** The bits of an encoding that choose among rows of one opcode. */
export interface Selectors {
  readonly mode64: boolean;
  /** 0 none, 1: 66, 2: F3, 3: F2. */
  readonly pp: number;
  readonly w: number;
  readonly l: number;
  readonly modRegister: boolean;
  readonly reg: number;
  readonly rm: number;
}

const PP: Record<number, number> = { 0: 0, 0x66: 1, 0xf3: 2, 0xf2: 3 };

function accepts(row: OpcodeRow, s: Selectors): boolean {
  const { code } = row;
  if (row.mode64 === 'only' ? !s.mode64 : row.mode64 === 'invalid' && s.mode64) return false;
  if (code.prefix === 'nfx' ? s.pp > 1 : code.prefix !== 'any' && PP[code.prefix] !== s.pp) return false;
  if (code.w >= 0 && code.w !== s.w && !(code.wIgnored32 && !s.mode64)) return false;
  if (code.l >= 0 && code.l !== s.l) return false;
  if (code.mod !== 'any' && (code.mod === 'register') !== s.modRegister) return false;
  return (code.reg < 0 || code.reg === (s.reg & 7)) && (code.rm < 0 || code.rm === (s.rm & 7));
}

/** How many selectors a row fixes; of two rows that take the same bytes, the one with more counts. */
function specificity(row: OpcodeRow): number {
  const { code } = row;
  const fixed = [
    row.mode64 === 'only' || row.mode64 === 'invalid',
    code.prefix !== 'any',
    code.w >= 0,
    code.l >= 0,
    code.mod !== 'any',
    code.reg >= 0,
    code.rm >= 0,
  ];
  return fixed.filter(Boolean).length;
}

const keyOf = (row: OpcodeRow): string => `${row.encoding}/${row.code.map}/${row.code.opcode}`;
let neighbours: Map<string, OpcodeRow[]> | undefined;

function neighboursOf(row: OpcodeRow): readonly OpcodeRow[] {
  if (neighbours === undefined) {
    neighbours = new Map();
    for (const other of opcodeRows) {
      const rows = neighbours.get(keyOf(other));
      if (rows === undefined) neighbours.set(keyOf(other), [other]);
      else rows.push(other);
    }
  }
  return neighbours.get(keyOf(row)) as OpcodeRow[];
}

/** Whether the encoding means another, more specific row. */
export function isShadowed(row: OpcodeRow, selectors: Selectors): boolean {
  const rows = neighboursOf(row);
  if (rows.length === 1) return false;
  const own = specificity(row);
  return rows.some((other) => other !== row && specificity(other) > own && accepts(other, selectors));
}
