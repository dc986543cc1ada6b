import { type OpcodeRow, type OperandSpec, typeBits } from '@nestvm/isa';
import type { Expression, Resolve } from './expression.js';
import { evaluate, hasLabel } from './expression.js';
import type { Fields, Shape } from './fields.js';
import { emptyFields } from './fields.js';
import type { FarPointer, Memory, Operand, Register, RegisterFile, RelativeTarget } from './operand.js';

/** Types whose memory operand has no size in text: the mnemonic says it. */
export const UNSIZED: ReadonlySet<string> = new Set(['', 's', 'a', 'fe', 'fx', 'fxsave', 'xsave']);

/** What matching an operand needs to know. */
interface Context {
  readonly row: OpcodeRow;
  readonly shape: Shape;
  readonly resolve: Resolve;
  readonly fields: Fields;
}

type Kinds = { register: Register; memory: Memory; far: FarPointer; relative: RelativeTarget };

const isKind = <K extends keyof Kinds>(operand: Operand, kind: K): operand is Kinds[K] => typeof operand === 'object' && operand.kind === kind;
const isExpression = (operand: Operand): operand is Expression => typeof operand !== 'object' || operand.kind === 'label';

const FIXED_GENERAL: Record<string, readonly [number: number, bits: number]> = { AL: [0, 8], CL: [1, 8], AX: [0, 16], DX: [2, 16] };
const FIXED_SEGMENT: Record<string, number> = { ES: 0, CS: 1, SS: 2, DS: 3, FS: 4, GS: 5 };

function isGeneral(operand: Operand, number: number, bits: number): boolean {
  return isKind(operand, 'register') && operand.file === 'general' && operand.number === number && operand.bits === bits && !operand.high;
}

/** Whether an operand is a fixed register or constant; undefined when the method is none of these. */
function matchFixed(operand: Operand, method: string, { shape, resolve }: Context): boolean | undefined {
  const general = FIXED_GENERAL[method];
  if (general !== undefined) return isGeneral(operand, ...general);
  const segment = FIXED_SEGMENT[method];
  if (segment !== undefined) return isKind(operand, 'register') && operand.file === 'segment' && operand.number === segment;
  switch (method) {
    case 'rAX':
      return isGeneral(operand, 0, shape.operandSize);
    case 'eAX':
      return isGeneral(operand, 0, shape.operandSize === 16 ? 16 : 32);
    case 'ST':
      return isKind(operand, 'register') && operand.file === 'x87' && operand.number === 0;
    case '1':
      return isExpression(operand) && !hasLabel(operand) && evaluate(operand, resolve) === 1n;
    default:
      return undefined;
  }
}

/** Takes a register of a file and size; notes what an 8-bit register says about REX. Returns its number or -1. */
function takeRegister(operand: Operand, file: RegisterFile, bits: number, { fields, shape, row }: Context): number {
  if (!isKind(operand, 'register') || operand.file !== file || (bits !== 0 && operand.bits !== bits)) return -1;
  if (shape.mode !== 64 && operand.number > 7) return -1;
  if (operand.number > 15 && row.encoding !== 'evex') return -1;
  if (file === 'general' && bits === 8) {
    if (operand.high) fields.noRex = true;
    else if (operand.number > 3) {
      if (shape.mode !== 64) return -1;
      fields.rex = true;
    }
  }
  return decorateFrom(operand, fields) ? operand.number : -1;
}

function decorateFrom(operand: Register | Memory, fields: Fields): boolean {
  if (operand.mask !== undefined) fields.mask = operand.mask;
  if (operand.zeroing) fields.zeroing = true;
  if (operand.rounding !== undefined) fields.rounding = operand.rounding;
  return true;
}

const vectorBits = (bits: number): number => (bits <= 128 ? 128 : bits);

/** Memory with ModRM addressing, of the size that the row accesses. */
function takeMemory(operand: Operand, spec: OperandSpec, context: Context): boolean {
  if (!isKind(operand, 'memory')) return false;
  const { row, fields, shape } = context;
  const wanted = spec.memoryType === 'a' && row.mnemonic === 'BOUND' ? shape.operandSize * 2 : typeBits(spec.memoryType, shape);
  if (operand.broadcast !== 0) {
    const element = (row.evex?.elementBytes ?? 0) * 8;
    if (!row.evex?.broadcast || (operand.bits !== 0 && operand.bits !== element) || element * operand.broadcast !== wanted) return false;
  } else if (!UNSIZED.has(spec.memoryType) && wanted !== 0) {
    if (operand.bits === 0) fields.guessedBits = wanted;
    else if (operand.bits !== wanted) return false;
  }
  if ((operand.index?.file === 'vector') !== (spec.method === 'MV')) return false;
  fields.memory = operand;
  fields.segment = operand.segment;
  return decorateFrom(operand, fields);
}

/** A vector index: registers of the row's length, as the type says (`32x`, `64y`). */
function takeVectorMemory(operand: Operand, spec: OperandSpec, context: Context): boolean {
  const bits = { x: 128, y: 256, z: 512 }[spec.type.slice(-1)];
  if (!isKind(operand, 'memory') || operand.index?.bits !== bits) return false;
  return takeMemory(operand, spec, context);
}

const SOURCE_REGISTER = 6;
const DESTINATION_REGISTER = 7;

/** `[rsi]` or `[rdi]` of a string instruction. */
function takeString(operand: Operand, spec: OperandSpec, { fields, shape }: Context): boolean {
  if (!isKind(operand, 'memory') || operand.index !== null || operand.base === null || typeof operand.base === 'string') return false;
  const source = spec.method === 'X';
  if (Number(operand.displacement) !== 0 || operand.base.number !== (source ? SOURCE_REGISTER : DESTINATION_REGISTER)) return false;
  const bits = typeBits(spec.memoryType, shape);
  if (operand.bits !== 0 && operand.bits !== bits) return false;
  if (operand.bits === 0) fields.guessedBits = bits;
  if (source) fields.segment = operand.segment;
  else if (operand.segment > 0) return false;
  fields.addressSize = operand.base.bits as 16 | 32 | 64;
  return true;
}

function pushBytes(target: number[], value: bigint, bytes: number): void {
  for (let i = 0; i < bytes; i++) target.push(Number((value >> BigInt(i * 8)) & 0xffn));
}

/** Whether a value fits into so many bits, signed or unsigned. */
const fits = (value: bigint, bits: number): boolean => value >= -(1n << BigInt(bits - 1)) && value < 1n << BigInt(bits);

/** Whether a value is what the CPU makes of a sign-extended field, at the width of the destination. */
function fitsExtended(value: bigint, fieldBits: number, width: number): boolean {
  if (!fits(value, width)) return false;
  const signed = BigInt.asIntN(width, value);
  return BigInt.asIntN(fieldBits, signed) === signed;
}

/** Bits that a sign-extended byte is extended to: the first operand's, or the operand size for PUSH. */
function extendedWidth(spec: OperandSpec, { row, shape }: Context): number {
  const first = row.operands[0] as OperandSpec;
  if (first === spec || first.type === '') return shape.operandSize;
  return typeBits(first.type, shape) || shape.operandSize;
}

function takeImmediate(operand: Operand, spec: OperandSpec, context: Context): boolean {
  if (!isExpression(operand)) return false;
  const { shape, fields, resolve } = context;
  const value = evaluate(operand, resolve);
  if (spec.method === 'sI') {
    if (!fitsExtended(value, 8, extendedWidth(spec, context))) return false;
    pushBytes(fields.immediate, value, 1);
    return true;
  }
  const bits = typeBits(spec.type, shape);
  if (spec.type === 'z' && shape.operandSize === 64 ? !fitsExtended(value, 32, 64) : !fits(value, bits)) return false;
  pushBytes(fields.immediate, value, bits / 8);
  return true;
}

function takeBranch(operand: Operand, spec: OperandSpec, { shape, fields, resolve }: Context): boolean {
  const bytes = spec.type === 'b' ? 1 : shape.operandSize === 16 ? 2 : 4;
  if (isKind(operand, 'relative')) fields.branch = { bytes, target: BigInt(operand.delta), fromStart: true };
  else if (isExpression(operand)) fields.branch = { bytes, target: evaluate(operand, resolve), fromStart: false };
  else return false;
  return true;
}

function takeFar(operand: Operand, { shape, fields, resolve }: Context): boolean {
  if (!isKind(operand, 'far')) return false;
  const bits = shape.operandSize === 16 ? 16 : 32;
  const offset = evaluate(operand.offset, resolve);
  if ((operand.bits !== 0 && operand.bits !== bits) || !fits(offset, bits)) return false;
  pushBytes(fields.immediate, offset, bits / 8);
  pushBytes(fields.immediate, BigInt(operand.selector), 2);
  return true;
}

function takeMoffs(operand: Operand, spec: OperandSpec, { shape, fields }: Context): boolean {
  if (!isKind(operand, 'memory') || operand.base !== null || operand.index !== null) return false;
  const bits = typeBits(spec.type, shape);
  if (operand.bits === 0) fields.guessedBits = bits;
  else if (operand.bits !== bits) return false;
  fields.moffs = operand;
  fields.segment = operand.segment;
  return true;
}

/** CR0, CR2, CR3, CR4 and CR8 exist. */
const CONTROL_REGISTERS = new Set([0, 2, 3, 4, 8]);

function takeReg(operand: Operand, file: RegisterFile, bits: number, context: Context): boolean {
  const number = takeRegister(operand, file, bits, context);
  if (file === 'control' && !CONTROL_REGISTERS.has(number)) return false;
  if (file === 'debug' && number > 7) return false;
  context.fields.reg = number;
  return number >= 0;
}

function takeRm(operand: Operand, file: RegisterFile, bits: number, context: Context): boolean {
  if (context.row.code.mod === 'memory') return false;
  context.fields.rm = takeRegister(operand, file, bits, context);
  return context.fields.rm >= 0;
}

function takeVvvv(operand: Operand, file: RegisterFile, bits: number, context: Context): boolean {
  context.fields.vvvv = takeRegister(operand, file, bits, context);
  return context.fields.vvvv >= 0;
}

/** MOV to a segment register takes a register of any size; only 16 bits matter. */
function generalBits(spec: OperandSpec, operand: Operand, { row, shape }: Context): number {
  if (row.operands[0]?.method === 'S' && isKind(operand, 'register') && operand.bits > 8) return operand.bits;
  return typeBits(spec.type, shape);
}

/** A register that holds an address (UMONITOR, MOVDIR64B, ENQCMD) says the address size. */
function takeAddressSize(operand: Operand, { fields }: Context): void {
  if (isKind(operand, 'register')) fields.addressSize = operand.bits as 16 | 32 | 64;
}

function takeL(operand: Operand, spec: OperandSpec, context: Context): boolean {
  const number = takeRegister(operand, 'vector', vectorBits(typeBits(spec.type, context.shape)), context);
  context.fields.immediate.push((number << 4) & 0xff);
  return number >= 0;
}

function takeZ(operand: Operand, spec: OperandSpec, context: Context): boolean {
  context.fields.z = takeRegister(operand, 'general', typeBits(spec.type, context.shape), context);
  return context.fields.z >= 0;
}

type Taker = (operand: Operand, spec: OperandSpec, context: Context) => boolean;

const vector =
  (take: typeof takeReg): Taker =>
  (operand, spec, context) =>
    take(operand, 'vector', vectorBits(typeBits(spec.type, context.shape)), context);
const inFile =
  (take: typeof takeReg, file: RegisterFile): Taker =>
  (operand, _spec, context) =>
    take(operand, file, 0, context);
const orMemory =
  (take: Taker): Taker =>
  (operand, spec, context) =>
    isKind(operand, 'memory') ? context.row.code.mod !== 'register' && takeMemory(operand, spec, context) : take(operand, spec, context);
const general =
  (take: typeof takeReg): Taker =>
  (operand, spec, context) => {
    if (spec.type === 'a') takeAddressSize(operand, context);
    return take(operand, 'general', generalBits(spec, operand, context), context);
  };

const notCode: Taker = (operand, _spec, context) =>
  takeReg(operand, 'segment', 0, context) && (context.fields.reg !== 1 || context.row.operands[0]?.method !== 'S');

const TAKERS: Record<string, Taker> = {
  G: general(takeReg),
  B: (operand, spec, context) => takeVvvv(operand, 'general', typeBits(spec.type, context.shape), context),
  E: orMemory(general(takeRm)),
  R: general(takeRm),
  Z: takeZ,
  V: vector(takeReg),
  H: vector(takeVvvv),
  U: vector(takeRm),
  W: orMemory(vector(takeRm)),
  L: takeL,
  P: inFile(takeReg, 'mmx'),
  N: inFile(takeRm, 'mmx'),
  Q: orMemory(inFile(takeRm, 'mmx')),
  KG: inFile(takeReg, 'mask'),
  KB: inFile(takeVvvv, 'mask'),
  KR: inFile(takeRm, 'mask'),
  KE: orMemory(inFile(takeRm, 'mask')),
  BG: inFile(takeReg, 'bound'),
  BE: orMemory(inFile(takeRm, 'bound')),
  S: notCode,
  C: inFile(takeReg, 'control'),
  D: inFile(takeReg, 'debug'),
  STi: inFile(takeRm, 'x87'),
  M: takeMemory,
  MV: takeVectorMemory,
  X: takeString,
  Y: takeString,
  O: takeMoffs,
  I: takeImmediate,
  sI: takeImmediate,
  J: takeBranch,
  A: (operand, _spec, context) => takeFar(operand, context),
};

/** The fields that encode the operands by this row in this shape, or null when the row does not take them. */
export function matchOperands(row: OpcodeRow, operands: readonly Operand[], shape: Shape, resolve: Resolve): Fields | null {
  const specs = operandsOf(row, operands.length);
  if (specs === null) return null;
  const fields = emptyFields();
  const context: Context = { row, shape, resolve, fields };
  for (let i = 0; i < specs.length; i++) {
    const spec = specs[i] as OperandSpec;
    const operand = operands[i] as Operand;
    const fixed = matchFixed(operand, spec.method, context);
    if (fixed === false || (fixed === undefined && !(TAKERS[spec.method]?.(operand, spec, context) ?? false))) return null;
  }
  return fields;
}

/** The specs that the operands answer: all, those that text prints (strings without their accumulator), or none for a string instruction. */
function operandsOf(row: OpcodeRow, count: number): readonly OperandSpec[] | null {
  if (row.operands.length === count) return row.operands;
  if (row.rep === 'none') return null;
  const printed = row.operands.filter((spec) => spec.method !== 'AL' && spec.method !== 'rAX');
  return printed.length === count ? printed : count === 0 ? [] : null;
}
