import type { OpcodeRow } from '@nestvm/isa';
import type { CodeBits, Shape } from './fields.js';

const SIZED_TYPES = new Set(['v', 'y', 'z', 'p', 'a', 'fe', 'fx']);

/** Whether an operand says the operand size: a register or memory of variable size, not an immediate or a branch. */
function saysSize(row: OpcodeRow): boolean {
  return row.operands.some(
    (spec) =>
      spec.method === 'rAX' ||
      spec.method === 'eAX' ||
      spec.method === 'A' ||
      (SIZED_TYPES.has(spec.type) && !['I', 'sI', 'J'].includes(spec.method)),
  );
}

/** The operand size without any prefix. */
export function naturalSize(row: OpcodeRow, mode: CodeBits): 16 | 32 | 64 {
  if (mode !== 64) return row.encoding === 'legacy' ? mode : 32;
  if (row.mode64 === 'force64' || (row.encoding === 'legacy' && row.mode64 === 'default64')) return 64;
  return row.code.w === 1 ? 64 : 32;
}

function operandSizes(row: OpcodeRow, mode: CodeBits, wanted: number): readonly (16 | 32 | 64)[] {
  if (wanted !== 0) return [wanted as 16 | 32 | 64];
  const natural = naturalSize(row, mode);
  if (!saysSize(row)) return [natural];
  const all = mode === 64 ? ([32, 64, 16] as const) : ([32, 16] as const);
  return [natural, ...all.filter((size) => size !== natural)];
}

function vectorLengths(row: OpcodeRow): readonly number[] {
  if (row.encoding === 'legacy') return [128];
  if (row.code.l >= 0) return [128 << row.code.l];
  return row.encoding === 'vex' ? [128, 256] : [128, 256, 512];
}

/** All shapes that a row may take in a mode, the one without prefixes first; `wanted`: only this operand size, 0 any. */
export function shapesOf(row: OpcodeRow, mode: CodeBits, wanted = 0): readonly Shape[] {
  if (row.mode64 === 'only' ? mode !== 64 : row.mode64 === 'invalid' && mode === 64) return [];
  return operandSizes(row, mode, wanted).flatMap((operandSize) =>
    vectorLengths(row).map((vectorLength): Shape => ({ mode, operandSize, vectorLength })),
  );
}
