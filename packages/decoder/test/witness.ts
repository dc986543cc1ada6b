import type { OperandSpec } from '@nestvm/isa';
import type { Instruction as IcedInstruction } from 'iced-x86';
import { EncodingKind, MemorySize, MemorySizeExt, Mnemonic, OpKind, Register, RoundingControl } from 'iced-x86';
import { mnemonicText } from '../src/format/mnemonic.js';
import type { Instruction } from '../src/index.js';
import { NO_REGISTER, Prefix, RIP_REGISTER } from '../src/index.js';
import { operandBits } from '../src/width.js';
import type { Deviation } from './deviations.js';
import { impliedOperands, notImplemented, notImplementedEncodings, otherNames, rules, used } from './deviations.js';

/** The mode that the instruction was decoded in; set before comparing. */
export type Bits = 16 | 32 | 64;

const icedMnemonics = new Map(
  Object.entries(Mnemonic)
    .filter(([, v]) => typeof v === 'number')
    .map(([k, v]) => [k.toLowerCase(), v as number]),
);
const OTHER_NAMES: Record<string, string> = { fwait: 'wait' };
const mnemonicCache = new Map<number, number>();

/** iced's mnemonic for what we decoded, -1 when it has none. */
export function icedMnemonicOf(insn: Instruction): number {
  const key = insn.row.id * 64 + (insn.operandSize >> 4) * 8 + (insn.addressSize >> 4);
  let value = mnemonicCache.get(key);
  if (value === undefined) {
    const text = insn.row.mnemonic === 'NOP' && insn.row.operands.length === 2 ? 'reservednop' : mnemonicText(insn);
    value = icedMnemonics.get(OTHER_NAMES[text] ?? text) ?? -1;
    mnemonicCache.set(key, value);
  }
  return value;
}

const memoryBytes = new Map<number, number>();
for (const value of Object.values(MemorySize)) if (typeof value === 'number') memoryBytes.set(value, MemorySizeExt.size(value));

const REGISTER_BASE: Record<number, number> = { 16: Register.AX, 32: Register.EAX, 64: Register.RAX };

function generalRegister(bits: number, number: number, rex: boolean): number {
  if (bits !== 8) return (REGISTER_BASE[bits] as number) + number;
  if (number < 4 || (!rex && number < 8)) return Register.AL + number;
  return Register.SPL + number - 4;
}

function vectorRegister(bits: number, number: number): number {
  return (bits <= 128 ? Register.XMM0 : bits === 256 ? Register.YMM0 : Register.ZMM0) + number;
}

const FIXED: Record<string, number> = {
  AL: Register.AL,
  CL: Register.CL,
  DX: Register.DX,
  AX: Register.AX,
  ST: Register.ST0,
  ES: Register.ES,
  CS: Register.CS,
  SS: Register.SS,
  DS: Register.DS,
  FS: Register.FS,
  GS: Register.GS,
};

/** iced's register for a register operand, or -1. */
function expectedRegister(insn: Instruction, spec: OperandSpec): number {
  const rex = (insn.prefixes & Prefix.REX) !== 0;
  const bits = operandBits(insn, spec);
  switch (spec.method) {
    case 'G':
      return generalRegister(bits, insn.reg, rex);
    case 'E':
    case 'R':
    case 'Z':
      return generalRegister(bits, insn.rm, rex);
    case 'B':
      return generalRegister(bits, insn.vvvv, rex);
    case 'rAX':
    case 'eAX':
      return generalRegister(bits, 0, rex);
    case 'V':
      return vectorRegister(bits, insn.reg);
    case 'U':
    case 'W':
      return vectorRegister(bits, insn.rm);
    case 'H':
      return vectorRegister(bits, insn.vvvv);
    case 'L':
      return vectorRegister(bits, (insn.immediate >> 4) & 15);
    case 'P':
      return Register.MM0 + insn.reg;
    case 'N':
    case 'Q':
      return Register.MM0 + insn.rm;
    case 'STi':
      return Register.ST0 + insn.rm;
    case 'S':
      return Register.ES + insn.reg;
    case 'C':
      return Register.CR0 + insn.reg;
    case 'D':
      return Register.DR0 + insn.reg;
    case 'KG':
      return Register.K0 + insn.reg;
    case 'KR':
    case 'KE':
      return Register.K0 + insn.rm;
    case 'KB':
      return Register.K0 + insn.vvvv;
    case 'BG':
      return Register.BND0 + insn.reg;
    case 'BE':
      return Register.BND0 + insn.rm;
    default:
      return FIXED[spec.method] ?? -1;
  }
}

const MEMORY_METHODS = new Set(['E', 'M', 'Q', 'W', 'KE', 'BE', 'MV']);

/** In 64-bit mode only FS and GS override; iced reports the last prefix whatever it is. */
function sameSegment(insn: Instruction, iced: IcedInstruction, bits: Bits): boolean {
  const actual = iced.memorySegment;
  if (actual === Register.ES + insn.segment) return true;
  return bits === 64 && actual < Register.FS && insn.segment < 4 && used(rules.segment64);
}

/** What differs about an ordinary memory operand, or null. */
function compareMemory(insn: Instruction, iced: IcedInstruction, spec: OperandSpec, bits: Bits): string | null {
  const vsib = spec.method === 'MV';
  const addressBase = REGISTER_BASE[insn.addressSize] as number;
  const base =
    insn.base === NO_REGISTER
      ? Register.None
      : insn.base === RIP_REGISTER
        ? insn.addressSize === 64
          ? Register.RIP
          : Register.EIP
        : addressBase + insn.base;
  if (iced.memoryBase !== base) return `base ${Register[iced.memoryBase]}, ours ${Register[base]}`;
  const vectorIndex = { x: Register.XMM0, y: Register.YMM0, z: Register.ZMM0 }[spec.type.slice(-1)] ?? Register.XMM0;
  const index = insn.index === NO_REGISTER && !vsib ? Register.None : (vsib ? vectorIndex : addressBase) + insn.index;
  if (iced.memoryIndex !== index) return `index ${Register[iced.memoryIndex]}, ours ${Register[index]}`;
  if (index !== Register.None && iced.memoryIndexScale !== 1 << insn.scale) return `scale ${iced.memoryIndexScale}, ours ${1 << insn.scale}`;
  if (!sameSegment(insn, iced, bits)) return `segment ${Register[iced.memorySegment]}, ours ${insn.segment}`;
  let displacement = iced.memoryDisplacement;
  if (insn.base === RIP_REGISTER) displacement -= iced.nextIP;
  const ours =
    spec.method === 'O' ? BigInt(insn.displacementHigh >>> 0) * 0x1_0000_0000n + BigInt(insn.displacement >>> 0) : BigInt(insn.displacement);
  const width = insn.addressSize;
  if (BigInt.asUintN(width, displacement) !== BigInt.asUintN(width, ours)) return `displacement ${displacement}, ours ${ours}`;
  const bytes = memoryBytes.get(iced.memorySize) as number;
  if (spec.access === 'none' || bytes === 0) return null;
  const expected = insn.evexB ? bytes * 8 : operandBits(insn, spec);
  return bytes * 8 === expected ? null : `memory size ${bytes * 8}, ours ${expected} (${bits})`;
}

const IMMEDIATE_BITS: Record<number, number> = {
  [OpKind.Immediate8]: 8,
  [OpKind.Immediate8_2nd]: 8,
  [OpKind.Immediate16]: 16,
  [OpKind.Immediate32]: 32,
  [OpKind.Immediate64]: 64,
  [OpKind.Immediate8to16]: 16,
  [OpKind.Immediate8to32]: 32,
  [OpKind.Immediate8to64]: 64,
  [OpKind.Immediate32to64]: 64,
};

function compareImmediate(insn: Instruction, iced: IcedInstruction, spec: OperandSpec, at: number): string | null {
  const kind = iced.opKind(at);
  const width = IMMEDIATE_BITS[kind];
  if (width === undefined) return `operand ${at} is ${OpKind[kind]}, ours an immediate`;
  const second = at > 0 && insn.row.operands[at - 1]?.method === 'I';
  const low = spec.method === '1' ? 1 : spec.method === 'L' ? insn.immediate & 15 : second ? insn.immediate2 : insn.immediate;
  const high = spec.method === '1' || second ? 0 : insn.immediateHigh;
  const value = width < 64 ? BigInt.asUintN(width, iced.immediate(at)) : BigInt.asUintN(64, iced.immediate(at));
  const ours = BigInt.asUintN(width, (BigInt(high) << 32n) | BigInt(low >>> 0));
  return value === ours ? null : `immediate ${value}, ours ${ours}`;
}

function compareBranch(insn: Instruction, iced: IcedInstruction, at: number): string | null {
  const kind = iced.opKind(at);
  const width = kind === OpKind.NearBranch16 ? 16 : kind === OpKind.NearBranch32 ? 32 : kind === OpKind.NearBranch64 ? 64 : 0;
  if (width === 0) return `operand ${at} is ${OpKind[kind]}, ours a branch`;
  if (width !== insn.operandSize && insn.row.mnemonic !== 'XBEGIN') return `branch width ${width}, ours ${insn.operandSize}`;
  const target = BigInt.asUintN(width, iced.nextIP + BigInt(insn.immediate));
  return iced.nearBranchTarget === target ? null : `target ${iced.nearBranchTarget}, ours ${target}`;
}

function compareFar(insn: Instruction, iced: IcedInstruction, at: number): string | null {
  const kind = iced.opKind(at);
  if (kind !== (insn.operandSize === 16 ? OpKind.FarBranch16 : OpKind.FarBranch32)) return `operand ${at} is ${OpKind[kind]}, ours far`;
  const offset = kind === OpKind.FarBranch16 ? iced.farBranch16 : iced.farBranch32;
  return offset === insn.immediate >>> 0 && iced.farBranchSelector === insn.immediate2 ? null : 'far pointer differs';
}

const STRING_SOURCE: Record<number, number> = { 16: OpKind.MemorySegSI, 32: OpKind.MemorySegESI, 64: OpKind.MemorySegRSI };
const STRING_DESTINATION: Record<number, number> = { 16: OpKind.MemoryESDI, 32: OpKind.MemoryESEDI, 64: OpKind.MemoryESRDI };

function compareString(insn: Instruction, iced: IcedInstruction, spec: OperandSpec, at: number, bits: Bits): string | null {
  const kind = (spec.method === 'X' ? STRING_SOURCE : STRING_DESTINATION)[insn.addressSize];
  if (iced.opKind(at) !== kind) return `operand ${at} is ${OpKind[iced.opKind(at)]}`;
  if (spec.method === 'X' && !sameSegment(insn, iced, bits)) return `segment ${Register[iced.memorySegment]}`;
  const bytes = memoryBytes.get(iced.memorySize) as number;
  return bytes * 8 === operandBits(insn, spec) ? null : `string element ${bytes}`;
}

function compareOperand(insn: Instruction, iced: IcedInstruction, spec: OperandSpec, at: number, bits: Bits): string | null {
  switch (spec.method) {
    case 'I':
    case 'sI':
    case '1':
      return compareImmediate(insn, iced, spec, at);
    case 'J':
      return compareBranch(insn, iced, at);
    case 'A':
      return compareFar(insn, iced, at);
    case 'X':
    case 'Y':
      return compareString(insn, iced, spec, at, bits);
    default:
  }
  const isMemory = spec.method === 'O' || (MEMORY_METHODS.has(spec.method) && insn.mod !== 3);
  const kind = iced.opKind(at);
  if (isMemory) return kind === OpKind.Memory ? compareMemory(insn, iced, spec, bits) : `operand ${at} is ${OpKind[kind]}, ours memory`;
  if (kind !== OpKind.Register) return `operand ${at} is ${OpKind[kind]}, ours a register`;
  const expected = expectedRegister(insn, spec);
  const actual = iced.opRegister(at);
  if (insn.row.mnemonic === 'ARPL' && actual === expected + Register.EAX - Register.AX && used(rules.arpl)) return null;
  return actual === expected ? null : `operand ${at} is ${Register[actual]}, ours ${Register[expected] ?? spec.method}`;
}

const namesByIced = new Map(otherNames.map((entry) => [(Mnemonic as unknown as Record<string, number>)[entry.iced], entry]));
const impliedByOurs = new Map(impliedOperands.map((entry) => [entry.ours, entry]));
const absent = new Map<number, Deviation>();
for (const entry of notImplemented)
  for (const name of entry.mnemonics) absent.set((Mnemonic as unknown as Record<string, number>)[name] as number, entry);

const absentEncodings = new Map(
  notImplementedEncodings.map((entry) => [(EncodingKind as unknown as Record<string, number>)[entry.encoding] as number, entry]),
);

function sameMnemonic(insn: Instruction, iced: IcedInstruction): boolean {
  if (iced.mnemonic === icedMnemonicOf(insn)) return true;
  const entry = namesByIced.get(iced.mnemonic);
  return entry !== undefined && entry.ours === insn.row.mnemonic && used(entry);
}

/** Compares one decoded instruction with iced's: null when mnemonic and operands agree, else what differs. Both are valid and of the same length. */
export function compare(insn: Instruction, iced: IcedInstruction, bits: Bits): string | null {
  if (!sameMnemonic(insn, iced)) return `mnemonic ${Mnemonic[iced.mnemonic]}, ours ${insn.row.mnemonic}`;
  if (namesByIced.get(iced.mnemonic)?.skipOperands === true) return null;
  const { operands } = insn.row;
  let first = 0;
  let count = iced.opCount;
  if (count !== operands.length) {
    const implied = impliedByOurs.get(insn.row.mnemonic);
    if (implied !== undefined && used(implied)) {
      first = implied.first;
      count -= implied.first + implied.last;
    }
  }
  if (count !== operands.length) return `operand count ${iced.opCount}, ours ${operands.length}`;
  for (let i = 0; i < operands.length; i++) {
    const difference = compareOperand(insn, iced, operands[i] as OperandSpec, i + first, bits);
    if (difference !== null) return difference;
  }
  return insn.row.evex === null ? null : compareEvex(insn, iced);
}

function compareEvex(insn: Instruction, iced: IcedInstruction): string | null {
  if (iced.opMask !== (insn.mask === 0 ? Register.None : Register.K0 + insn.mask)) return `mask ${Register[iced.opMask]}, ours ${insn.mask}`;
  if (iced.zeroingMasking !== insn.zeroing) return 'zeroing';
  if (iced.isBroadcast !== (insn.evexB && insn.mod !== 3)) return `broadcast ${iced.isBroadcast}`;
  const rounding = insn.evexB && insn.mod === 3 ? insn.row.evex?.rounding : 'none';
  if (iced.suppressAllExceptions !== (rounding === 'sae')) return `sae ${iced.suppressAllExceptions}, ours ${rounding}`;
  const expected = rounding === 'er' || rounding === 'ignored' ? (ROUNDING[insn.evexLL] as number) : RoundingControl.None;
  return iced.roundingControl === expected ? null : `rounding ${RoundingControl[iced.roundingControl]}, ours ${RoundingControl[expected]}`;
}

const ROUNDING = [RoundingControl.RoundToNearest, RoundingControl.RoundDown, RoundingControl.RoundUp, RoundingControl.RoundTowardZero];

/** Features whose instructions iced does not know. */
export const NEWER: ReadonlySet<string> = new Set(['msr-imm', 'user-msr']);

/** Operands of MPX that are #UD while it is enabled: bound registers from BND4 on, 16-bit and RIP-relative addresses. */
const isRefusedUnderMpx = (insn: Instruction): boolean =>
  insn.row.features[0] === 'mpx' && (insn.reg > 3 || insn.base === RIP_REGISTER || (insn.mod === 3 ? insn.rm > 3 : insn.addressSize === 16));

/** Compares the two results on the same bytes; `length` is what `decodeInto` returned. */
export function compareResults(insn: Instruction, length: number, iced: IcedInstruction, bits: Bits): string | null {
  const invalid = iced.isInvalid;
  if (invalid && length < 0) return null;
  if (invalid && isRefusedUnderMpx(insn) && used(rules.mpx)) return null;
  if (invalid && NEWER.has(insn.row.features[0]!) && used(rules.newer)) return null;
  if (invalid) return `iced invalid, ours ${insn.row.mnemonic}`;
  if (length < 0) {
    const entry = absent.get(iced.mnemonic) ?? absentEncodings.get(iced.encoding);
    return entry !== undefined && used(entry) ? null : `iced ${Mnemonic[iced.mnemonic]}, ours invalid`;
  }
  if (iced.length !== length) return `length ${iced.length} ${Mnemonic[iced.mnemonic]}, ours ${length}`;
  const difference = compare(insn, iced, bits);
  return difference === null ? null : `${insn.row.mnemonic}: ${difference}`;
}
