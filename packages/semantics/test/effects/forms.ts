import { type OpcodeRow, type OperandSpec, opcodeRows } from '@nestvm/isa';
import type { Facts } from '../../src/facts.js';
import { meanings } from '../../src/meanings.js';

/** A row under one combination of facts. */
export interface Form {
  readonly name: string;
  readonly row: OpcodeRow;
  readonly facts: Facts;
}

type Size = 16 | 32 | 64;
const SIZED_TYPES = new Set(['v', 'z', 'y', 'p', 'a', 'fe', 'fx']);
const SIZED_FIXED = new Set(['rAX', 'eAX']);
const VECTOR = new Set(['V', 'H', 'U', 'W', 'L', 'MV']);
const isImplicitMemory = (row: OpcodeRow): boolean =>
  row.operands.some((o) => 'OXY'.includes(o.method)) || /^(XLAT|V?MASKMOV(Q|DQU))$/.test(row.mnemonic);
const isSized = (row: OpcodeRow): boolean =>
  row.operands.some((o: OperandSpec) => SIZED_TYPES.has(o.type) || SIZED_FIXED.has(o.method)) ||
  (row.operands.length === 0 && !row.mnemonic.startsWith('V'));

function operandSizes(row: OpcodeRow, long: boolean): readonly Size[] {
  const { operandSize, w } = row.code;
  if (operandSize !== 0) return operandSize === 64 && !long ? [] : [operandSize];
  if (row.encoding === 'vex') return row.code.wIgnored32 && !long ? [32] : w === 1 ? [64] : w === -1 && isSized(row) && long ? [32, 64] : [32];
  if (w === 1) return long ? [64] : [];
  if (long && row.mode64 === 'force64') return [64];
  if (long && row.mode64 === 'default64') return [16, 64];
  if (!isSized(row)) return [32];
  return long && w !== 0 ? [16, 32, 64] : [16, 32];
}

function vectorLengths(row: OpcodeRow): readonly Facts['vectorLength'][] {
  if (row.encoding !== 'vex') return [0];
  if (row.code.l === 0) return [128];
  if (row.code.l === 1) return [256];
  return row.operands.some((o) => VECTOR.has(o.method)) ? [128, 256] : [128];
}

/** 64-bit code; flat 32-bit code; 16-bit code with segments. */
const MODES = [
  { long: true, addressSize: 64, stackSize: 64, segment: 'none' },
  { long: false, addressSize: 32, stackSize: 32, segment: 'none' },
  { long: false, addressSize: 16, stackSize: 16, segment: 'checked' },
] as const;

function* formsOfRow(row: OpcodeRow): Generator<Form> {
  const { mod, hasModRm, modIgnored } = row.code;
  const memories = isImplicitMemory(row) || mod === 'memory' ? [true] : mod === 'register' || !hasModRm || modIgnored ? [false] : [false, true];
  for (const { long, addressSize, stackSize, segment } of MODES) {
    if (row.mode64 === (long ? 'invalid' : 'only')) continue;
    for (const operandSize of operandSizes(row, long))
      for (const vectorLength of vectorLengths(row))
        for (const memory of memories)
          for (const rep of row.rep === 'none' ? ([0] as const) : ([0, 1, 2] as const)) {
            const facts: Facts = {
              row,
              operandSize,
              addressSize,
              memory,
              rep,
              lock: false,
              long,
              stackSize,
              indexed: memory && !isImplicitMemory(row),
              segment: memory ? segment : 'none',
              stackSegment: segment,
              canonicalBits: 48,
              aligned: false,
              vectorLength,
            };
            const operands = row.operands.map((o) => o.method + o.type).join(',');
            const parts = [`o${operandSize}`, `a${addressSize}`, memory ? 'm' : 'r', rep ? `rep${rep}` : '', vectorLength ? `l${vectorLength}` : ''];
            yield { name: `${row.id} ${row.mnemonic} ${operands} ${parts.filter(Boolean).join(' ')}`, row, facts };
          }
  }
}

/** Every row that has an emitter, in every form: modes, sizes, vector lengths, register and memory, repeat prefixes. */
export const forms: readonly Form[] = opcodeRows
  .filter((row) => row.encoding !== 'evex' && row.mnemonic in meanings)
  .flatMap((row) => [...formsOfRow(row)]);
