import { type OpcodeRow, type OperandSpec, typeBits } from '@nestvm/isa';
import type { Memory, Operand, Register, Shape } from '../src/index.js';
import { decorate, far, findRegister, memory } from '../src/index.js';
import { UNSIZED } from '../src/match.js';

/** Random numbers below a bound, from a 32-bit xorshift. */
export function createRandom(seed: number): (bound: number) => number {
  let state = seed | 1;
  return (bound) => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) % bound;
  };
}

type Random = (bound: number) => number;

const reg = (name: string): Register => findRegister(name) as Register;
const GENERAL: Record<number, readonly string[]> = {
  8: ['al', 'cl', 'dl', 'bl', 'ah', 'ch', 'dh', 'bh', 'spl', 'bpl', 'sil', 'dil', 'r8b', 'r13b', 'r15b'],
  16: ['ax', 'cx', 'dx', 'bx', 'sp', 'bp', 'si', 'di', 'r8w', 'r12w', 'r15w'],
  32: ['eax', 'ecx', 'edx', 'ebx', 'esp', 'ebp', 'esi', 'edi', 'r8d', 'r12d', 'r13d', 'r15d'],
  64: ['rax', 'rcx', 'rdx', 'rbx', 'rsp', 'rbp', 'rsi', 'rdi', 'r8', 'r12', 'r13', 'r15'],
};
/** Registers outside 64-bit mode. */
const OLD = new Set([...GENERAL[16]!.slice(0, 8), ...GENERAL[32]!.slice(0, 8), ...GENERAL[8]!.slice(0, 8)]);

function general(bits: number, shape: Shape, random: Random): Register | null {
  const names = (GENERAL[bits] ?? []).filter((name) => shape.mode === 64 || OLD.has(name));
  return names.length === 0 ? null : reg(names[random(names.length)] as string);
}

const NAMES: Record<number, string> = { 128: 'xmm', 256: 'ymm', 512: 'zmm' };

function vector(bits: number, row: OpcodeRow, shape: Shape, random: Random): Register {
  const count = shape.mode !== 64 ? 8 : row.encoding === 'evex' ? 32 : 16;
  return reg(NAMES[Math.max(128, bits)] + String(random(count)));
}

const value = (bits: number, random: Random): bigint => BigInt.asUintN(bits, (BigInt(random(2 ** 32)) << 32n) | BigInt(random(2 ** 32)));

const ADDRESSES: Record<number, readonly (readonly [base: string, index: string])[]> = {
  16: [['bx', 'si'], ['bp', 'di'], ['bp', ''], ['si', ''], ['bx', ''], ['di', ''], ['', '']], // biome-ignore format: pairs
  32: [['eax', ''], ['ebp', ''], ['esp', ''], ['ebx', 'ecx'], ['', 'esi'], ['esp', 'ebp'], ['', ''], ['ebp', 'eax']], // biome-ignore format: pairs
  64: [['rax', ''], ['rbp', ''], ['rsp', ''], ['r12', ''], ['r13', ''], ['rbx', 'r12'], ['', 'r13'], ['rip', ''], ['', ''], ['r13', 'r9'], ['r15', 'rbp']], // biome-ignore format: pairs
};
const DISPLACEMENTS = [0, 8, 64, 127, -128, 128, 0x1234, -0x8000];

/** A memory operand with random addressing; a vector index where the row has one. */
function randomMemory(bits: number, row: OpcodeRow, spec: OperandSpec, shape: Shape, random: Random): Memory {
  const vsib = spec.method === 'MV';
  const sizes =
    vsib || row.operands[0]?.type === 'a'
      ? [vsib && shape.mode === 16 ? 32 : shape.mode]
      : shape.mode === 64
        ? [64, 64, 32]
        : [shape.mode, shape.mode === 32 ? 16 : 32];
  const size = sizes[random(sizes.length)] as number;
  const forms = ADDRESSES[size] as readonly (readonly [string, string])[];
  const [base, index] = forms[random(forms.length)] as readonly [string, string];
  const length = { x: 128, y: 256, z: 512 }[spec.type.slice(-1)] ?? 128;
  const indexRegister = vsib ? vector(length, row, shape, random) : index === '' ? null : reg(index);
  const scaled = indexRegister !== null && size !== 16;
  const none = base === '' && indexRegister === null;
  const displacement = DISPLACEMENTS[random(DISPLACEMENTS.length)] as number;
  return memory({
    bits,
    base: base === '' || (vsib && base === 'rip') ? null : base === 'rip' ? 'rip' : reg(base),
    index: indexRegister,
    scale: scaled ? ([1, 2, 4, 8][random(4)] as 1 | 2 | 4 | 8) : 1,
    segment: random(4) === 0 ? 4 + random(2) : -1,
    displacement: none && size !== 64 ? Math.abs(displacement) : displacement,
    ...(none ? { addressSize: size as 16 | 32 | 64 } : {}),
  });
}

function memoryBits(row: OpcodeRow, spec: OperandSpec, shape: Shape): number {
  return UNSIZED.has(spec.memoryType) ? 0 : typeBits(spec.memoryType, shape);
}

const MEMORY = new Set(['E', 'M', 'MV', 'Q', 'W', 'KE', 'BE']);
const FIXED: Record<string, string> = {
  AL: 'al',
  AX: 'ax',
  CL: 'cl',
  DX: 'dx',
  ST: 'st',
  ES: 'es',
  CS: 'cs',
  SS: 'ss',
  DS: 'ds',
  FS: 'fs',
  GS: 'gs',
};

/** Which form of a row: its ModRM operand is a register or memory. */
export type Form = 'register' | 'memory';

function stringOperand(row: OpcodeRow, spec: OperandSpec, shape: Shape, random: Random): Operand {
  const name = { 16: ['si', 'di'], 32: ['esi', 'edi'], 64: ['rsi', 'rdi'] }[shape.mode][spec.method === 'X' ? 0 : 1] as string;
  return memory({ bits: typeBits(spec.type, shape), base: reg(name), segment: spec.method === 'X' && random(3) === 0 ? 5 : -1 });
}

function immediate(row: OpcodeRow, spec: OperandSpec, shape: Shape, random: Random): Operand {
  if (spec.method === 'sI') return BigInt.asIntN(8, value(8, random));
  const bits = typeBits(spec.type, shape);
  const wide = spec.type === 'z' && shape.operandSize === 64;
  return wide ? BigInt.asIntN(32, value(32, random)) : value(bits, random);
}

function registerOperand(row: OpcodeRow, spec: OperandSpec, shape: Shape, random: Random): Operand | null {
  const bits = spec.type === 'a' ? (row.mnemonic === 'BOUND' ? shape.operandSize : shape.mode) : typeBits(spec.type, shape);
  switch (spec.method) {
    case 'G':
    case 'B':
    case 'Z':
    case 'E':
    case 'R':
      return general(row.operands[0]?.method === 'S' ? 16 : bits, shape, random);
    case 'V':
    case 'H':
    case 'U':
    case 'W':
    case 'L': {
      const register = vector(bits, row, shape, random);
      return spec.method === 'L' && register.number > 15 ? null : register;
    }
    case 'P':
    case 'N':
    case 'Q':
      return reg(`mm${random(8)}`);
    case 'KG':
    case 'KB':
    case 'KR':
    case 'KE':
      return reg(`k${random(8)}`);
    case 'BG':
    case 'BE':
      return reg(`bnd${random(4)}`);
    case 'S':
      return reg(['es', 'ss', 'ds', 'fs', 'gs'][random(5)] as string);
    case 'C':
      return reg(`cr${[0, 2, 3, 4, 8][random(shape.mode === 64 ? 5 : 4)]}`);
    case 'D':
      return reg(`dr${random(8)}`);
    case 'STi':
      return reg(`st(${random(8)})`);
    default:
      return null;
  }
}

/** A random operand for a spec, or null where the shape or form has none. */
function randomOperand(row: OpcodeRow, spec: OperandSpec, shape: Shape, form: Form, random: Random): Operand | null {
  const fixed = FIXED[spec.method];
  if (fixed !== undefined) return reg(fixed);
  if (MEMORY.has(spec.method) && (form === 'memory' || spec.method.startsWith('M')))
    return randomMemory(memoryBits(row, spec, shape), row, spec, shape, random);
  switch (spec.method) {
    case 'rAX':
      return reg({ 16: 'ax', 32: 'eax', 64: 'rax' }[shape.operandSize]);
    case 'eAX':
      return reg(shape.operandSize === 16 ? 'ax' : 'eax');
    case '1':
      return 1n;
    case 'I':
    case 'sI':
      return immediate(row, spec, shape, random);
    case 'J':
      return { kind: 'relative', delta: random(200) - 100 };
    case 'A':
      return far(random(0x10000), value(shape.operandSize === 16 ? 16 : 32, random), shape.operandSize === 16 ? 16 : 32);
    case 'X':
    case 'Y':
      return stringOperand(row, spec, shape, random);
    case 'O':
      return memory({ bits: typeBits(spec.type, shape), displacement: value(shape.mode, random), addressSize: shape.mode });
    default:
      return registerOperand(row, spec, shape, random);
  }
}

/** Masks, zeroing, broadcast and rounding, as the row allows them. */
function decorateRandomly(row: OpcodeRow, operands: Operand[], shape: Shape, form: Form, random: Random): void {
  const { evex } = row;
  if (evex === null || operands.length === 0) return;
  const first = operands[0] as Register | Memory;
  const isDestinationMemory = first.kind === 'memory';
  const masked = evex.mask === 'required' || (evex.mask !== 'none' && random(2) === 0);
  const zeroing = masked && evex.mask === 'zero' && !isDestinationMemory && first.kind === 'register' && first.file !== 'mask' && random(2) === 0;
  if (masked) operands[0] = decorate(first, { mask: 1 + random(7), ...(zeroing ? { zeroing } : {}) });
  const at = operands.findIndex((operand) => typeof operand === 'object' && operand.kind === 'memory');
  if (at >= 0 && evex.broadcast && random(2) === 0) {
    const spec = row.operands[at] as OperandSpec;
    const element = evex.elementBytes * 8;
    operands[at] = { ...(operands[at] as Memory), bits: element, broadcast: memoryBits(row, spec, shape) / element };
  }
  if (
    form === 'register' &&
    evex.rounding !== 'none' &&
    evex.rounding !== 'ignored' &&
    random(2) === 0 &&
    (row.code.l >= 0 || shape.vectorLength === 512)
  ) {
    const rounding = evex.rounding === 'sae' ? 'sae' : (['rne-sae', 'rd-sae', 'ru-sae', 'rz-sae'] as const)[random(4)]!;
    const last = operands.findLastIndex((operand) => typeof operand === 'object' && operand.kind === 'register');
    operands[last] = decorate(operands[last] as Register, { rounding });
  }
}

/** Random operands for a row in a shape, or null where there are none. */
export function randomOperands(row: OpcodeRow, shape: Shape, form: Form, random: Random): Operand[] | null {
  const operands: Operand[] = [];
  for (const spec of row.operands) {
    const operand = randomOperand(row, spec, shape, form, random);
    if (operand === null) return null;
    operands.push(operand);
  }
  decorateRandomly(row, operands, shape, form, random);
  return operands;
}
