import type { OperandSpec } from '@nestvm/isa';
import { DecoderError } from './errors.js';
import type { Instruction } from './instruction.js';

const FIXED_BITS: Record<string, number> = {
  b: 8,
  w: 16,
  d: 32,
  q: 64,
  dq: 128,
  qq: 256,
  oq: 512,
  ss: 32,
  sd: 64,
  sh: 16,
  fs: 32,
  fd: 64,
  ft: 80,
  fb: 80,
  fxsave: 4096,
  xsave: 0,
};
const FIXED_OPERANDS: Record<string, number> = { AL: 8, CL: 8, AX: 16, DX: 16, ST: 80, ES: 16, CS: 16, SS: 16, DS: 16, FS: 16, GS: 16, '1': 8 };

function variableBits(insn: Readonly<Instruction>, type: string): number {
  switch (type) {
    case 'v':
      return insn.operandSize;
    case 'y':
      return insn.operandSize === 64 ? 64 : 32;
    case 'z':
      return insn.operandSize === 16 ? 16 : 32;
    case 'x':
    case 'ps':
    case 'pd':
      return insn.vectorLength;
    case 'xl':
      return Math.max(128, insn.vectorLength >> 1);
    case 'xh':
      return insn.vectorLength >> 1;
    case 'xq':
      return insn.vectorLength >> 2;
    case 'xe':
      return insn.vectorLength >> 3;
    case 'p':
      return insn.operandSize + 16;
    case 'a':
      return insn.row.mnemonic === 'BOUND' ? insn.operandSize * 2 : insn.addressSize;
    case 's':
      return insn.operandSize === 64 ? 80 : 48;
    case 'fe':
      return insn.operandSize === 16 ? 14 * 8 : 28 * 8;
    case 'fx':
      return insn.operandSize === 16 ? 94 * 8 : 108 * 8;
    default:
      return 0;
  }
}

/**
 * Bits of an operand of a decoded instruction: of the memory form when it is memory, else of the register form. 0: no fixed size (LEA, the XSAVE area).
 * A type letter that is not in the notation is a `DecoderError`.
 */
export function operandBits(insn: Readonly<Instruction>, spec: OperandSpec): number {
  if (spec.type === '') {
    if (spec.method === 'rAX') return insn.operandSize;
    if (spec.method === 'eAX') return insn.operandSize === 16 ? 16 : 32;
    return FIXED_OPERANDS[spec.method] ?? 0;
  }
  const type = insn.mod !== 3 && insn.hasModRm ? spec.memoryType : spec.type;
  const fixed = FIXED_BITS[type];
  if (fixed !== undefined) return fixed;
  const bits = variableBits(insn, type);
  if (bits === 0 && spec.method !== 'MV')
    throw new DecoderError('unknown-operand', `${insn.row.mnemonic}: operand type '${type}' has no size here; add it to width.ts`);
  return bits;
}
