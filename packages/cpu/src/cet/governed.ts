import type { Instruction } from '@nestvm/decoder';
import { Mode } from '@nestvm/isa';
import type { SystemInstruction } from '../system/index.js';
import { RDSSP } from './instructions.js';
import { CALL_NEAR, JMP_NEAR, RET_NEAR } from './near.js';
import { atBranchTarget, endbranch } from './tracker.js';

/** What CET makes of an instruction in a mode, when it is not what the instruction does otherwise: else null. */
export function underCet(insn: Readonly<Instruction>, mode: number): SystemInstruction | null {
  if ((mode & Mode.ENDBRANCH) !== 0) return atBranchTarget;
  const { mnemonic } = insn.row;
  const shadow = (mode & Mode.SHADOW_STACK) !== 0;
  const indirect = (mode & Mode.IBT) !== 0 && insn.row.operands[0]?.method === 'E';
  switch (mnemonic) {
    case 'CALL':
      return shadow || indirect ? CALL_NEAR : null;
    case 'JMP':
      return indirect ? JMP_NEAR : null;
    case 'RET':
      return shadow ? RET_NEAR : null;
    case 'RDSSP':
      return shadow ? RDSSP : null;
    case 'ENDBR32':
    case 'ENDBR64':
      return (mode & Mode.SUPPRESSED) !== 0 ? endbranch : null;
    default:
      return null;
  }
}
