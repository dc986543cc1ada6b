import type { EvexTuple } from '@nestvm/isa';
import type { Instruction } from './instruction.js';

const log2 = (n: number): number => 31 - Math.clz32(n);

/** Vector tuples: the whole vector's shift and less, by how much. */
const BELOW_VECTOR: Partial<Record<EvexTuple, number>> = {
  full: 0,
  half: 1,
  quarter: 2,
  'full-mem': 0,
  'half-mem': 1,
  'quarter-mem': 2,
  'eighth-mem': 3,
};
/** Element tuples: elements, as a shift. */
const ELEMENTS: Partial<Record<EvexTuple, number>> = { scalar: 0, t2: 1, t4: 2, t8: 3 };

/** log2 of the factor N of an EVEX disp8*N (SDM Vol. 2, "Compressed Displacement (disp8*N) Support in EVEX"). */
export function disp8Shift(insn: Readonly<Instruction>): number {
  const evex = insn.row.evex;
  if (evex === null) return 0;
  const element = log2(evex.elementBytes);
  if (insn.evexB && evex.broadcast) return element;
  const vector = log2(insn.vectorLength >> 3);
  const below = BELOW_VECTOR[evex.tuple];
  if (below !== undefined) return vector - below;
  const elements = ELEMENTS[evex.tuple];
  if (elements !== undefined) return element + elements;
  if (evex.tuple === 'mem128') return 4;
  return evex.tuple === 'movddup' ? (insn.vectorLength === 128 ? 3 : vector) : 0;
}
