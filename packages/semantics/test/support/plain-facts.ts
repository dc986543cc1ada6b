import type { Facts } from '../../src/index.js';

/** Facts of an instruction in 64-bit code without prefixes. */
export const plainFacts = (row: Facts['row'], memory: boolean, others: Partial<Facts> = {}): Facts => ({
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
  ...others,
});
