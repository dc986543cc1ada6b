import type { Facts } from '@nestvm/semantics';

/** What has registers in memory that compiled code keeps elsewhere, or whose count of turns must be the interpreter's. */
const LEFT_OUT = new Set(['ENTER', 'BOUND', 'XBEGIN', 'XLAT', 'RDMSR', 'WRMSR', 'LGDT', 'SGDT', 'VERW', 'INVLPG', 'STGI', 'CLGI']);

/** Repeated instructions that are compiled: done at once where they stay inside of a page. */
const BULK = new Set(['MOVS', 'STOS']);

/**
 * Whether compiled code carries an instruction out. Segments that are checked, alignment checks and most repeated string instructions stay with the interpreter: the first
 * two are rare, and the last count their turns from where they began.
 */
export function isCompilable(facts: Facts): boolean {
  const { row } = facts;
  if (facts.segment === 'checked' || facts.stackSegment === 'checked' || facts.aligned) return false;
  if (facts.operandSize === 16 && row.endsBlock) return false;
  if (facts.rep !== 0 && row.rep !== 'none' && (!BULK.has(row.mnemonic) || facts.addressSize === 16)) return false;
  return row.encoding !== 'evex' && !LEFT_OUT.has(row.mnemonic);
}
