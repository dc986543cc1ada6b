import { opcodeRows } from '@nestvm/isa';
import { explainInstruction, type Facts } from '@nestvm/semantics';

/** 64-bit code, register or memory operand. */
const factsOf = (row: Facts['row'], memory: boolean): Facts => ({
  row,
  operandSize: 32,
  addressSize: 64,
  memory,
  rep: 0,
  lock: false,
  long: true,
  stackSize: 64,
  indexed: false,
  segment: 'none',
  stackSegment: 'none',
  canonicalBits: 48,
  aligned: false,
  vectorLength: 0,
});
for (const [mnemonic, memory] of [
  ['ADD', true],
  ['XCHG', false],
  ['MOVS', true],
  ['BOUND', true],
] as const) {
  const row = opcodeRows.find((r) => r.mnemonic === mnemonic && r.encoding === 'legacy' && r.operands.some((o) => o.type !== 'b'))!;
  console.log(`${mnemonic}\n  ${explainInstruction(factsOf(row, memory)).join('\n  ')}`);
}
