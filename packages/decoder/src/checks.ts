import { NO_REGISTER } from './instruction.js';
import type { Instruction } from './instruction.js';

/** CR0, CR2, CR3, CR4 and CR8 exist. */
const CONTROL_REGISTERS = 0b1_0001_1101;

function isControlOrDebugRegister(insn: Instruction): boolean {
  const special = insn.row.operands[0]?.method === 'R' ? insn.row.operands[1] : insn.row.operands[0];
  if (special?.method === 'C') return ((CONTROL_REGISTERS >> insn.reg) & 1) !== 0;
  return insn.reg < 8;
}

/** Whether the registers that a row names exist: the #UD conditions that the maps do not print. */
export function isEncodable(insn: Instruction): boolean {
  switch (insn.row.mnemonic) {
    case 'MOV_CR':
    case 'MOV_DR':
      return isControlOrDebugRegister(insn);
    case 'MOV_SREG':
      return insn.reg < 6 && (insn.reg !== 1 || insn.row.operands[0]?.method !== 'S');
    default:
      return insn.index !== NO_REGISTER || true;
  }
}
