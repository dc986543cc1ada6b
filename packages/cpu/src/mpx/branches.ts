import type { Instruction } from '@nestvm/decoder';
import { CALL_NEAR, JCC_NEAR, JMP_NEAR, RET_NEAR } from '../cet/near.js';
import { updateModeBits } from '../mode.js';
import { Outcome } from '../outcome.js';
import type { SystemInstruction } from '../system/index.js';
import { forgetBounds } from './state.js';

/** A near branch without the BND prefix: when it is carried out the bounds are forgotten. */
const forgetting =
  (branch: SystemInstruction): SystemInstruction =>
  (cpu, insn) => {
    const outcome = branch(cpu, insn);
    if (outcome === Outcome.FAULT) return outcome;
    forgetBounds(cpu.w);
    updateModeBits(cpu);
    return outcome;
  };

const CALL = forgetting(CALL_NEAR);
const JMP = forgetting(JMP_NEAR);
const RET = forgetting(RET_NEAR);
const JCC = forgetting(JCC_NEAR);

const SHORT_JUMP = 0xeb;
const CONDITIONAL = /^J(?!MP|[ER]?CXZ)/;

/**
 * The branch that forgets bounds in place of an instruction, else null. Conditional jumps do it whether taken or not; short JMP, JCXZ, LOOP and far transfers never (SDM
 * Vol. 1, "CALL, RET, JMP and All Jcc").
 */
export function forgettingBranch(insn: Readonly<Instruction>): SystemInstruction | null {
  const { mnemonic } = insn.row;
  switch (mnemonic) {
    case 'CALL':
      return CALL;
    case 'JMP':
      return insn.opcode === SHORT_JUMP ? null : JMP;
    case 'RET':
      return RET;
    default:
      return CONDITIONAL.test(mnemonic) ? JCC : null;
  }
}
