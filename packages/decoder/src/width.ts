import { type OperandSpec, typeBits } from '@nestvm/isa';
import { DecoderError } from './errors.js';
import type { Instruction } from './instruction.js';

const FIXED_OPERANDS: Record<string, number> = { AL: 8, CL: 8, AX: 16, DX: 16, ST: 80, ES: 16, CS: 16, SS: 16, DS: 16, FS: 16, GS: 16, '1': 8 };

/** Types that are decoded to more than the map's own size: what the mnemonic and address size say, and the areas in memory. */
function instructionBits(insn: Readonly<Instruction>, type: string): number {
  switch (type) {
    case 'a':
      return insn.row.mnemonic === 'BOUND' ? insn.operandSize * 2 : insn.row.mnemonic === 'BNDMOV' ? (insn.mode === 64 ? 128 : 64) : insn.addressSize;
    case 's':
      return insn.operandSize === 64 ? 80 : 48;
    case 'fe':
      return insn.operandSize === 16 ? 14 * 8 : 28 * 8;
    case 'fx':
      return insn.operandSize === 16 ? 94 * 8 : 108 * 8;
    case 'fxsave':
      return 4096;
    default:
      return typeBits(type, insn);
  }
}

/**
 * Bits of an operand of a decoded instruction: of the memory form when it is memory, else of the register form. 0: no fixed size (LEA, the XSAVE area).
 * A type letter that is not in the notation is a `DecoderError`.
 */
export function operandBits(insn: Readonly<Instruction>, spec: OperandSpec): number {
  if (spec.type === '') {
    if (spec.method === 'rAX') return insn.operandSize;
    if (spec.method === 'BG') return 128;
    if (spec.method === 'eAX') return insn.operandSize === 16 ? 16 : 32;
    return FIXED_OPERANDS[spec.method] ?? 0;
  }
  const type = insn.mod !== 3 && insn.hasModRm ? spec.memoryType : spec.type;
  const bits = instructionBits(insn, type);
  if (bits === 0 && type !== 'xsave' && spec.method !== 'MV')
    throw new DecoderError('unknown-operand', `${insn.row.mnemonic}: operand type '${type}' has no size here; add it to width.ts`);
  return bits;
}
