import type { OperandSpec } from '@nestvm/isa';
import type { Instruction } from '../instruction.js';
import { NO_REGISTER, RIP_REGISTER } from '../instruction.js';
import { operandBits } from '../width.js';
import { mnemonicText } from './mnemonic.js';
import type { FormatOptions } from './operand.js';
import { branchText, broadcastText, hex, immediateText, isMemory, prefixText, printedSegment, roundingText } from './operand.js';
import { generalRegisterName, registerName, segmentName, vectorRegisterName } from './registers.js';

const POINTERS: Record<number, string> = {
  8: 'byte',
  16: 'word',
  32: 'dword',
  48: 'fword',
  64: 'qword',
  80: 'tbyte',
  128: 'xmmword',
  256: 'ymmword',
  512: 'zmmword',
};
/** Memory whose size the mnemonic says. */
const UNSIZED = new Set(['', 's', 'a', 'fe', 'fx', 'fxsave', 'xsave']);

function pointerText(insn: Readonly<Instruction>, spec: OperandSpec): string {
  if (UNSIZED.has(spec.memoryType)) return '';
  const bits = insn.evexB ? (insn.row.evex?.elementBytes ?? 0) * 8 : operandBits(insn, spec);
  const name = POINTERS[bits];
  return name === undefined ? '' : `${name} ptr `;
}

function indexText(insn: Readonly<Instruction>, spec: OperandSpec): string {
  // A vector index always exists; its register 16 has the number that otherwise means none.
  if (insn.index === NO_REGISTER && spec.method !== 'MV') return '';
  const lengths: Record<string, number> = { x: 128, y: 256, z: 512 };
  const name =
    spec.method === 'MV' ? vectorRegisterName(lengths[spec.type.slice(-1)] as number, insn.index) : generalRegisterName(insn.addressSize, insn.index);
  return insn.addressSize === 16 || (insn.scale === 0 && insn.base !== NO_REGISTER) ? name : `${name}*${1 << insn.scale}`;
}

function addressText(insn: Readonly<Instruction>, spec: OperandSpec, options: FormatOptions): string {
  const { addressSize, base, displacement } = insn;
  if (spec.method === 'O') return hex((BigInt(insn.displacementHigh) << 32n) | BigInt(displacement >>> 0), addressSize);
  if (base === RIP_REGISTER && options.rip !== undefined) return hex(options.rip + BigInt(insn.length + displacement), addressSize);
  const baseName = base === NO_REGISTER ? '' : base === RIP_REGISTER ? (addressSize === 64 ? 'rip' : 'eip') : generalRegisterName(addressSize, base);
  const registers = [baseName, indexText(insn, spec)].filter((part) => part !== '').join('+');
  if (registers === '') return hex(BigInt(displacement), addressSize);
  if (displacement === 0) return registers;
  return registers + (displacement < 0 ? `-${hex(BigInt(-displacement), 32)}` : `+${hex(BigInt(displacement), 32)}`);
}

function memoryText(insn: Readonly<Instruction>, spec: OperandSpec, options: FormatOptions): string {
  const segment = printedSegment(insn);
  const prefix = segment < 0 ? '' : `${segmentName(segment)}:`;
  return `${pointerText(insn, spec)}${prefix}[${addressText(insn, spec, options)}]${broadcastText(insn, spec)}`;
}

function stringText(insn: Readonly<Instruction>, spec: OperandSpec): string {
  const register = generalRegisterName(insn.addressSize, spec.method === 'X' ? 6 : 7);
  const segment = spec.method === 'X' ? printedSegment(insn) : -1;
  return `${pointerText(insn, spec)}${spec.method === 'Y' && insn.mode !== 64 ? 'es:' : segment < 0 ? '' : `${segmentName(segment)}:`}[${register}]`;
}

function operandText(insn: Readonly<Instruction>, spec: OperandSpec, options: FormatOptions): string {
  switch (spec.method) {
    case 'I':
    case 'sI':
    case '1':
      return immediateText(insn, spec);
    case 'J':
      return branchText(insn, options);
    case 'A':
      return `${hex(BigInt(insn.immediate2), 16)}:${hex(BigInt(insn.immediate), insn.operandSize)}`;
    case 'X':
    case 'Y':
      return stringText(insn, spec);
    default:
      return isMemory(insn, spec) ? memoryText(insn, spec, options) : registerName(insn, spec);
  }
}

/** The accumulator of STOS, LODS and SCAS is not printed. */
function printedOperands(insn: Readonly<Instruction>): readonly OperandSpec[] {
  const { operands, rep } = insn.row;
  return rep === 'none' ? operands : operands.filter((spec) => spec.method !== 'AL' && spec.method !== 'rAX');
}

const FAR = new Set<string>(['CALLF', 'JMPF']);

/**
 * Text in Intel syntax: `lock add dword ptr [rax+0x10], 0x1`. Lower case, hexadecimal, destination first; memory operands show their size unless the
 * mnemonic says it.
 */
export function formatIntel(insn: Readonly<Instruction>, options: FormatOptions = {}): string {
  const name = mnemonicText(insn);
  const far = FAR.has(insn.row.mnemonic) ? ' far' : '';
  const operands = printedOperands(insn).map((spec) => operandText(insn, spec, options));
  if (operands.length > 0 && insn.mask !== 0) operands[0] += `{k${insn.mask}}`;
  if (operands.length > 0 && insn.zeroing) operands[0] += '{z}';
  const rounding = roundingText(insn);
  if (rounding !== '') operands[lastRegister(insn)] += rounding;
  return `${prefixText(insn)}${name}${far}${operands.length > 0 ? ' ' : ''}${operands.join(', ')}`;
}

/** The SDM prints rounding after the last register operand. */
function lastRegister(insn: Readonly<Instruction>): number {
  let last = 0;
  insn.row.operands.forEach((spec, i) => {
    if (spec.method !== 'I') last = i;
  });
  return last;
}
