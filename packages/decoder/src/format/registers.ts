import type { OperandSpec } from '@nestvm/isa';
import type { Instruction } from '../instruction.js';
import { Prefix } from '../instruction.js';
import { operandBits } from '../width.js';

const LEGACY_8 = ['al', 'cl', 'dl', 'bl', 'ah', 'ch', 'dh', 'bh'];
const LEGACY_16 = ['ax', 'cx', 'dx', 'bx', 'sp', 'bp', 'si', 'di'];
const SEGMENTS = ['es', 'cs', 'ss', 'ds', 'fs', 'gs'];

/** Name of a general register of 8, 16, 32 or 64 bits; `rex` chooses SPL to DIL over AH to BH. */
export function generalRegisterName(bits: number, number: number, rex = true): string {
  if (number > 7) return `r${number}${{ 8: 'b', 16: 'w', 32: 'd' }[bits] ?? ''}`;
  const word = LEGACY_16[number] as string;
  if (bits === 8) return rex && number > 3 ? `${word}l` : (LEGACY_8[number] as string);
  return bits === 16 ? word : (bits === 32 ? 'e' : 'r') + word;
}

/** Name of a segment register. */
export const segmentName = (number: number): string => SEGMENTS[number] as string;

/** Name of a vector register; up to 128 bits are XMM. */
export const vectorRegisterName = (bits: number, number: number): string => (bits <= 128 ? 'xmm' : bits === 256 ? 'ymm' : 'zmm') + number;

const FIXED: Record<string, string> = {
  AL: 'al',
  CL: 'cl',
  DX: 'dx',
  AX: 'ax',
  ST: 'st',
  ES: 'es',
  CS: 'cs',
  SS: 'ss',
  DS: 'ds',
  FS: 'fs',
  GS: 'gs',
};

/** The register that a register operand names, in lower case without decoration. */
export function registerName(insn: Readonly<Instruction>, spec: OperandSpec): string {
  const fixed = FIXED[spec.method];
  if (fixed !== undefined) return fixed;
  const bits = operandBits(insn, spec);
  const rex = (insn.prefixes & Prefix.REX) !== 0;
  switch (spec.method) {
    case 'rAX':
    case 'eAX':
      return generalRegisterName(bits, 0);
    case 'G':
      return generalRegisterName(bits, insn.reg, rex);
    case 'B':
      return generalRegisterName(bits, insn.vvvv);
    case 'V':
      return vectorRegisterName(bits, insn.reg);
    case 'H':
      return vectorRegisterName(bits, insn.vvvv);
    case 'L':
      return vectorRegisterName(bits, insn.immediate >> 4);
    case 'U':
    case 'W':
      return vectorRegisterName(bits, insn.rm);
    case 'P':
      return `mm${insn.reg}`;
    case 'N':
    case 'Q':
      return `mm${insn.rm}`;
    case 'KG':
      return `k${insn.reg}`;
    case 'KB':
      return `k${insn.vvvv}`;
    case 'KR':
    case 'KE':
      return `k${insn.rm}`;
    case 'BG':
      return `bnd${insn.reg}`;
    case 'BE':
      return `bnd${insn.rm}`;
    case 'S':
      return segmentName(insn.reg);
    case 'C':
      return `cr${insn.reg}`;
    case 'D':
      return `dr${insn.reg}`;
    case 'STi':
      return `st(${insn.rm})`;
    // MOV to a segment register takes 16 bits, whatever the operand size.
    default:
      return generalRegisterName(insn.row.operands[0]?.method === 'S' ? 16 : bits, insn.rm, rex);
  }
}
