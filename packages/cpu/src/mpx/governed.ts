import { type Instruction, Prefix } from '@nestvm/decoder';
import { Mode } from '@nestvm/isa';
import type { SystemInstruction } from '../system/index.js';
import { forgettingBranch } from './branches.js';
import { BNDCL, BNDCN, BNDCU, BNDLDX, BNDMK, BNDMOV, BNDSTX, BOUND } from './instructions.js';

const INSTRUCTIONS: Readonly<Record<string, SystemInstruction>> = { BNDMK, BNDMOV, BNDCL, BNDCU, BNDCN, BNDLDX, BNDSTX, BOUND };

/** What MPX makes of an instruction in a mode, when it is not what the instruction does otherwise: else null. */
export function underMpx(insn: Readonly<Instruction>, mode: number): SystemInstruction | null {
  const own = INSTRUCTIONS[insn.row.mnemonic];
  if (own !== undefined) return own;
  if ((mode & Mode.BOUNDS) === 0 || (insn.prefixes & Prefix.REPNE) !== 0) return null;
  return forgettingBranch(insn);
}
