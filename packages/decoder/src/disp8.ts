import type { Instruction } from './instruction.js';

/** log2 of the factor N of an EVEX disp8*N (SDM Vol. 2, "Compressed Displacement (disp8*N) Support in EVEX"). */
export function disp8Shift(_insn: Instruction): number {
  return 0;
}
