import type { OpcodeRow } from '@nestvm/isa';
import type { Instruction } from './instruction.js';

/** CR0, CR2, CR3, CR4 and CR8 exist. */
const CONTROL_REGISTERS = 0b1_0001_1101;

function isControlOrDebugRegister(insn: Instruction): boolean {
  const special = insn.row.operands[0]?.method === 'R' ? insn.row.operands[1] : insn.row.operands[0];
  if (special?.method === 'C') return ((CONTROL_REGISTERS >> insn.reg) & 1) !== 0;
  return insn.reg < 8;
}

/** A vector index needs SIB, and a gather's destination, index and mask must differ (SDM Vol. 2, "VPGATHERDD"). */
function isGather(insn: Instruction, row: OpcodeRow): boolean {
  if ((insn.rm & 7) !== 4 || insn.addressSize === 16) return false;
  const writesRegister = row.operands[0]?.method === 'V';
  if (row.encoding === 'evex') return !writesRegister || insn.reg !== insn.index;
  return insn.reg !== insn.index && insn.reg !== insn.vvvv && insn.index !== insn.vvvv;
}

function areOpmasks(insn: Instruction, row: OpcodeRow): boolean {
  for (const operand of row.operands) {
    if (operand.method === 'KG' && insn.reg > 7) return false;
    if (operand.method === 'KB' && insn.vvvv > 7) return false;
  }
  return true;
}

function hasVectorIndex(row: OpcodeRow): boolean {
  for (const operand of row.operands) if (operand.method === 'MV') return true;
  return false;
}

/** Whether the registers that a row names exist: the #UD conditions that the maps do not print. */
export function isEncodable(insn: Instruction): boolean {
  const row = insn.row;
  switch (row.mnemonic) {
    case 'MOV_CR':
    case 'MOV_DR':
      return isControlOrDebugRegister(insn);
    case 'MOV_SREG':
      return insn.reg < 6 && (insn.reg !== 1 || row.operands[0]?.method !== 'S');
    default:
      return areOpmasks(insn, row) && (!hasVectorIndex(row) || isGather(insn, row));
  }
}
