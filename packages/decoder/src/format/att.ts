import type { Mnemonic, OperandSpec } from '@nestvm/isa';
import type { Instruction } from '../instruction.js';
import { NO_REGISTER, RIP_REGISTER } from '../instruction.js';
import { operandBits } from '../width.js';
import { mnemonicText } from './mnemonic.js';
import type { FormatOptions } from './operand.js';
import { branchText, broadcastText, hex, immediateText, isMemory, prefixText, printedSegment, roundingText } from './operand.js';
import { generalRegisterName, registerName, segmentName, vectorRegisterName } from './registers.js';

const SUFFIX: Record<number, string> = { 8: 'b', 16: 'w', 32: 'l', 64: 'q' };
/** x87 memory types: single, double and extended; integers of 16, 32 and 64 bits. */
const X87_SUFFIX: Record<string, string> = { fs: 's', fd: 'l', ft: 't', w: 's', d: 'l', q: 'll' };
const X87_UNSIZED = new Set<string>(['FLDCW', 'FNSTCW', 'FNSTSW', 'FLDENV', 'FNSTENV', 'FNSAVE', 'FRSTOR', 'FBLD', 'FBSTP']);

const OTHER_NAMES: Record<string, string> = {
  cbw: 'cbtw',
  cwde: 'cwtl',
  cdqe: 'cltq',
  cwd: 'cwtd',
  cdq: 'cltd',
  cqo: 'cqto',
  movsd: 'movsl',
  cmpsd: 'cmpsl',
  stosd: 'stosl',
  lodsd: 'lodsl',
  scasd: 'scasl',
  insd: 'insl',
  outsd: 'outsl',
  iret: 'iretw',
  iretd: 'iretl',
  pushf: 'pushfw',
  pushfd: 'pushfl',
  popf: 'popfw',
  popfd: 'popfl',
  pusha: 'pushaw',
  pushad: 'pushal',
  popa: 'popaw',
  popad: 'popal',
  retf: 'lret',
  xlatb: 'xlat',
};
/** AT&T assemblers have these two swapped where the destination is not ST(0), since the first UNIX assembler had. */
const SWAPPED: Partial<Record<Mnemonic, string>> = {
  FSUB: 'fsubr',
  FSUBR: 'fsub',
  FDIV: 'fdivr',
  FDIVR: 'fdiv',
  FSUBP: 'fsubrp',
  FSUBRP: 'fsubp',
  FDIVP: 'fdivrp',
  FDIVRP: 'fdivp',
};
/** Methods of operands that show the operation's size by themselves. */
const SIZED = new Set(['G', 'R', 'Z', 'B', 'AL', 'AX', 'rAX', 'eAX', 'S', 'C', 'D', 'P', 'N', 'V', 'U', 'H', 'L', 'KG', 'KR', 'KB']);
const INDIRECT = new Set<string>(['CALL', 'JMP', 'CALLF', 'JMPF']);

const isX87 = (insn: Readonly<Instruction>): boolean => insn.row.features[0] === 'fpu';

function memoryText(insn: Readonly<Instruction>, spec: OperandSpec, options: FormatOptions): string {
  const segment = printedSegment(insn);
  const prefix = segment < 0 ? '' : `%${segmentName(segment)}:`;
  const { addressSize, base, displacement } = insn;
  if (spec.method === 'O') return prefix + hex((BigInt(insn.displacementHigh) << 32n) | BigInt(displacement >>> 0), addressSize);
  if (base === RIP_REGISTER && options.rip !== undefined)
    return prefix + hex(options.rip + BigInt(insn.length + displacement), addressSize) + broadcastText(insn, spec);
  const lengths: Record<string, number> = { x: 128, y: 256, z: 512 };
  const index =
    insn.index === NO_REGISTER && spec.method !== 'MV'
      ? ''
      : `,%${spec.method === 'MV' ? vectorRegisterName(lengths[spec.type.slice(-1)] as number, insn.index) : generalRegisterName(addressSize, insn.index)}`;
  const scale = index === '' || addressSize === 16 ? '' : `,${1 << insn.scale}`;
  const baseText =
    base === NO_REGISTER ? '' : base === RIP_REGISTER ? (addressSize === 64 ? '%rip' : '%eip') : `%${generalRegisterName(addressSize, base)}`;
  if (baseText === '' && index === '') return prefix + hex(BigInt(displacement), addressSize) + broadcastText(insn, spec);
  const number = displacement === 0 ? '' : displacement < 0 ? `-${hex(BigInt(-displacement), 32)}` : hex(BigInt(displacement), 32);
  return `${prefix}${number}(${baseText}${index}${scale})${broadcastText(insn, spec)}`;
}

function operandText(insn: Readonly<Instruction>, spec: OperandSpec, options: FormatOptions): string {
  const star = INDIRECT.has(insn.row.mnemonic) ? '*' : '';
  switch (spec.method) {
    case 'I':
    case 'sI':
    case '1':
      return `$${immediateText(insn, spec)}`;
    case 'J':
      return branchText(insn, options);
    case 'A':
      return `$${hex(BigInt(insn.immediate2), 16)}, $${hex(BigInt(insn.immediate), insn.operandSize)}`;
    case 'X':
      return `${printedSegment(insn) < 0 ? '' : `%${segmentName(insn.segment)}:`}(%${generalRegisterName(insn.addressSize, 6)})`;
    case 'Y':
      return `${insn.mode === 64 ? '' : '%es:'}(%${generalRegisterName(insn.addressSize, 7)})`;
    default:
      return star + (isMemory(insn, spec) ? memoryText(insn, spec, options) : `%${registerName(insn, spec)}`);
  }
}

/** MOVZX and MOVSX say both sizes: movzbl, movswq; MOVSXD is movslq. */
function extensionName(insn: Readonly<Instruction>): string | null {
  const [to, from] = insn.row.operands as [OperandSpec, OperandSpec];
  switch (insn.row.mnemonic) {
    case 'MOVZX':
      return `movz${SUFFIX[operandBits(insn, from)]}${SUFFIX[operandBits(insn, to)]}`;
    case 'MOVSX':
      return `movs${SUFFIX[operandBits(insn, from)]}${SUFFIX[operandBits(insn, to)]}`;
    case 'MOVSXD':
      return insn.operandSize === 64 ? 'movslq' : 'movsxd';
    default:
      return null;
  }
}

function x87Name(insn: Readonly<Instruction>): string {
  const { mnemonic, operands } = insn.row;
  const name = mnemonic.toLowerCase();
  const [first] = operands;
  if (first?.method === 'STi' && operands.length === 2) return SWAPPED[mnemonic] ?? name;
  if (first?.method !== 'M' || X87_UNSIZED.has(mnemonic)) return name;
  return name + (X87_SUFFIX[first.memoryType] ?? '');
}

/** What takes no suffix although it has a memory operand of a general kind. */
const UNSUFFIXED = /^(?:SET|PREFETCH|SLDT|STR|LLDT|LTR|VERR|VERW|LMSW|SMSW|VMREAD|VMWRITE)/;
/** Stack instructions that show a 16-bit operand size by suffix. */
const STACK = new Set<string>(['PUSH', 'PUSH_SREG', 'POP_SREG', 'ENTER', 'LEAVE']);
const VECTOR_SUFFIX: Record<number, string> = { 128: 'x', 256: 'y', 512: 'z' };

/** Narrowing conversions from memory show the length of their source. */
function vectorSuffix(insn: Readonly<Instruction>): string {
  const { row } = insn;
  if (row.encoding === 'legacy' || insn.mod === 3 || insn.evexB) return '';
  if (row.operands[0]?.type === 'xl' && row.operands.length === 2) return insn.vectorLength === 512 ? '' : (VECTOR_SUFFIX[insn.vectorLength] ?? '');
  const isHidden = row.mnemonic.startsWith('VFPCLASSP') || (row.operands[0]?.type === 'dq' && row.operands[1]?.type === 'x');
  return isHidden ? (VECTOR_SUFFIX[insn.vectorLength] ?? '') : '';
}

/** A size suffix where no register says the size. */
function suffixOf(insn: Readonly<Instruction>): string {
  const { row } = insn;
  const memory = row.operands.find((spec) => isMemory(insn, spec));
  if (STACK.has(row.mnemonic) && memory === undefined) return insn.operandSize === 16 && row.operands[0]?.method !== 'Z' ? 'w' : '';
  if (memory === undefined || UNSUFFIXED.test(row.mnemonic)) return '';
  const general = SUFFIX[operandBits(insn, memory)] ?? '';
  if (row.mnemonic === 'CRC32' || /^V?CVTU?SI2S/.test(row.mnemonic)) return general;
  if (row.encoding !== 'legacy') return vectorSuffix(insn);
  if (row.rep !== 'none' || row.operands.some((spec) => SIZED.has(spec.method))) return '';
  if (row.mnemonic === 'CALLF' || row.mnemonic === 'JMPF') return SUFFIX[insn.operandSize] ?? '';
  return memory.method === 'E' ? general : '';
}

function attMnemonic(insn: Readonly<Instruction>): string {
  const { row } = insn;
  if (isX87(insn)) return x87Name(insn);
  const extension = extensionName(insn);
  if (extension !== null) return extension;
  if (row.mnemonic === 'CALLF') return `lcall${suffixOf(insn)}`;
  if (row.mnemonic === 'JMPF') return `ljmp${suffixOf(insn)}`;
  const wide = row.operands.some((spec) => spec.method === 'O' || (spec.method === 'I' && spec.type === 'v'));
  if (row.mnemonic === 'MOV' && wide && ((insn.addressSize === 64 && row.operands.some((spec) => spec.method === 'O')) || insn.operandSize === 64))
    return 'movabs';
  const name = mnemonicText(insn);
  const isVectorName = row.mnemonic === 'MOVSD' || row.mnemonic === 'CMPSD';
  return (isVectorName ? name : (OTHER_NAMES[name] ?? name)) + suffixOf(insn);
}

/** Text in AT&T syntax: `lock addl $0x1, 0x10(%rax)`. Source first, with size suffixes where no register shows the size. */
export function formatAtt(insn: Readonly<Instruction>, options: FormatOptions = {}): string {
  const operands = insn.row.operands.map((spec) => operandText(insn, spec, options));
  if (operands.length > 0 && insn.mask !== 0) operands[0] += `{%k${insn.mask}}`;
  if (operands.length > 0 && insn.zeroing) operands[0] += '{z}';
  const keepsOrder = insn.row.mnemonic === 'ENTER' || insn.row.mnemonic === 'BOUND';
  if (!keepsOrder) operands.reverse();
  const rounding = roundingText(insn).replace('rne', 'rn');
  if (rounding !== '') operands.splice(insn.row.operands.at(-1)?.method === 'I' ? 1 : 0, 0, rounding);
  return `${prefixText(insn)}${attMnemonic(insn)}${operands.length > 0 ? ' ' : ''}${operands.join(', ')}`;
}
