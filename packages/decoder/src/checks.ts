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

function isMemoryDestination(insn: Instruction, row: OpcodeRow): boolean {
  const method = row.operands[0]?.method;
  return insn.mod !== 3 && method !== 'V' && method !== 'H' && method !== 'KG' && method !== 'G';
}

/** EVEX.b, aaa, z and L'L as the instruction allows them (SDM Vol. 2, "#UD Equations for EVEX"). */
function isEvexState(insn: Instruction, row: OpcodeRow): boolean {
  const evex = row.evex;
  if (evex === null) return true;
  if (insn.evexB && !(insn.mod === 3 ? evex.rounding !== 'none' : evex.broadcast)) return false;
  if (evex.mask === 'none' ? insn.mask !== 0 : evex.mask === 'required' && insn.mask === 0) return false;
  if (insn.zeroing && (evex.mask !== 'zero' || insn.mask === 0 || isMemoryDestination(insn, row))) return false;
  return (insn.evexLL !== 3 || (insn.evexB && insn.mod === 3)) && isComplexProduct(insn, row);
}

/** Complex FP16 products need a destination that is no source (SDM Vol. 2, "VFMULCPH/VFCMULCPH"). */
function isComplexProduct(insn: Instruction, row: OpcodeRow): boolean {
  if (row.code.map !== 'MAP6' || (row.code.opcode & 0x7e) !== 0x56) return true;
  return insn.reg !== insn.vvvv && (insn.mod !== 3 || insn.reg !== insn.rm);
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
      return areOpmasks(insn, row) && isEvexState(insn, row) && (!hasVectorIndex(row) || isGather(insn, row));
  }
}
