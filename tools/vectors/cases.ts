/** Makes up single cases of a form: bytes and the state to run them in. */
import {
  Decoder,
  DecoderOptions,
  type Instruction,
  InstructionInfoFactory,
  MemorySize,
  MemorySizeExt,
  Mnemonic,
  OpAccess,
  OpKind,
  Register,
} from 'iced-x86';
import { Image, Place, type VectorMode } from '../../packages/conformance/src/index.js';
import { encode, type MemoryPlan, type Shape } from './encode.js';
import type { Random } from './random.js';
import { type Context, prepare } from './special.js';
import { State } from './state.js';
import { integer, lanes, type ValueClass, valueOf } from './values.js';

/** A case that the harness has not run yet. */
export interface Question {
  readonly code: Uint8Array;
  readonly image: Uint8Array;
  readonly ignore: { offset: number; length: number }[];
}

interface RegisterName {
  kind: 'gpr' | 'vec' | 'mm' | 'st';
  index: number;
  byte: number;
  bits: number;
}

const gprNames = ['AX', 'CX', 'DX', 'BX', 'SP', 'BP', 'SI', 'DI'];
const registerNames = new Map<number, RegisterName>();

function nameRegister(text: string, name: RegisterName): void {
  const number = (Register as unknown as Record<string, number>)[text];
  if (number !== undefined) registerNames.set(number, name);
}

for (let i = 0; i < 16; i++) {
  const stem = i < 8 ? (gprNames[i] as string) : `R${i}`;
  nameRegister(i < 8 ? `R${stem}` : stem, { kind: 'gpr', index: i, byte: 0, bits: 64 });
  nameRegister(i < 8 ? `E${stem}` : `${stem}D`, { kind: 'gpr', index: i, byte: 0, bits: 32 });
  nameRegister(i < 8 ? stem : `${stem}W`, { kind: 'gpr', index: i, byte: 0, bits: 16 });
  nameRegister(i < 4 ? `${stem[0] as string}L` : i < 8 ? `${stem}L` : `${stem}L`, { kind: 'gpr', index: i, byte: 0, bits: 8 });
  if (i < 4) nameRegister(`${stem[0] as string}H`, { kind: 'gpr', index: i, byte: 1, bits: 8 });
  nameRegister(`XMM${i}`, { kind: 'vec', index: i, byte: 0, bits: 128 });
  nameRegister(`YMM${i}`, { kind: 'vec', index: i, byte: 0, bits: 256 });
  nameRegister(`MM${i}`, { kind: 'mm', index: i, byte: 0, bits: 64 });
  nameRegister(`ST${i}`, { kind: 'st', index: i, byte: 0, bits: 80 });
}

const factory = new InstructionInfoFactory();

/** Decodes bytes; null where they are not the instruction that was meant, in full. */
export function decodeAs(code: number, bytes: Uint8Array, mode: VectorMode): Instruction | null {
  const decoder = new Decoder(mode, bytes, DecoderOptions.None);
  decoder.ip = BigInt(Place.start);
  const instruction = decoder.decode();
  decoder.free();
  if (instruction.code === code && instruction.length === bytes.length) return instruction;
  instruction.free();
  return null;
}

/** What the lanes of an operand of this memory size are. */
export function classOf(memorySize: number, mnemonic: string): ValueClass {
  const name = MemorySize[memorySize] as string;
  const element = name.slice(name.lastIndexOf('_') + 1);
  const known: Record<string, ValueClass> = { Float16: 'f16', BFloat16: 'bf16', Float32: 'f32', Float64: 'f64', Float80: 'f80', Bcd: 'bcd80' };
  if (known[element]) return known[element];
  const integerWidth = element.match(/^U?Int(\d+)$/);
  if (integerWidth)
    return ({ '8': 'int8', '16': 'int16', '32': 'int32', '64': 'int64' } as Record<string, ValueClass>)[integerWidth[1] as string] ?? 'int128';
  if (/(PS|SS)$/.test(mnemonic)) return 'f32';
  if (/(PD|SD)$/.test(mnemonic)) return 'f64';
  return 'int32';
}

const isRead = (access: number): boolean =>
  access === OpAccess.Read || access === OpAccess.CondRead || access === OpAccess.ReadWrite || access === OpAccess.ReadCondWrite;

function setRegisters(random: Random, state: State, instruction: Instruction, kind: ValueClass): void {
  const info = factory.info(instruction);
  for (const used of info.usedRegisters()) {
    const name = isRead(used.access) ? registerNames.get(used.register) : undefined;
    used.free();
    if (!name || (name.kind === 'gpr' && name.index === 4)) continue;
    const mixed: ValueClass = random.chance(0.1) ? 'int64' : kind;
    if (name.kind === 'gpr') state.setPart(name.index, name.byte, integer(random, name.bits), name.bits);
    else if (name.kind === 'vec') state.image.set(lanes(random, mixed, name.bits / 8), Image.vec + 32 * name.index);
    else if (name.kind === 'mm') state.setMm(name.index, lanes(random, mixed, 8));
    else state.setSt(name.index, valueOf(random, 'f80'));
  }
  info.free();
}

/** Index lanes of a gather, all of them pointing into the window (or, rarely, one that does not and is masked out or faults). */
function setVectorIndex(random: Random, state: State, plan: MemoryPlan, wide: boolean): void {
  if (!plan.vector) return;
  const bytes = new Uint8Array(32);
  const view = new DataView(bytes.buffer);
  const step = wide ? 8 : 4;
  for (let at = 0; at < 32; at += step) {
    const reach = random.chance(0.03) ? 0x3000 : 0x780;
    const index = random.between(-reach, reach) >> plan.vector.scale;
    if (wide) view.setBigInt64(at, BigInt(index), true);
    else view.setInt32(at, index, true);
  }
  state.setVector(plan.vector.register, bytes);
}

function setAddress(random: Random, state: State, plan: MemoryPlan): void {
  for (const [index, { value, bits }] of plan.registers) {
    // A 32-bit address in 64-bit code ignores what is above; so does a 16-bit one.
    state.setGpr(index, value, bits);
  }
  if (plan.segment) state.view.setBigUint64(plan.segment === 'gs' ? Image.gsBase : Image.fsBase, plan.segmentBase, true);
  const [first] = plan.registers;
  if (state.mode === 64 && plan.registers.size === 1 && first && first[1].bits === 64 && random.chance(0.012)) {
    state.setGpr(first[0], first[1].value ^ (1n << BigInt(random.between(47, 63))));
  }
}

function chooseTarget(random: Random, size: number, aligned: boolean): number {
  const end = Place.window + Place.windowBytes;
  if (random.chance(0.04)) return end - random.below(size + 1);
  if (random.chance(0.02)) return Place.window - random.between(1, size);
  if (random.chance(0.05)) return Place.window + 0x1000 - random.below(size + 1);
  const free = Place.window + 0x200 + random.below(0x1b00);
  if (random.chance(aligned ? 0.9 : 0.6)) return free & -(size >= 64 ? 64 : size & (size - 1) ? 16 : size);
  return free;
}

function operandBits(shape: Shape, instruction: Instruction, size: number): number {
  if (instruction.opCount > 0 && instruction.opKind(0) === OpKind.Register) {
    const name = registerNames.get(instruction.opRegister(0));
    if (name?.kind === 'gpr') return name.bits;
  }
  return size > 0 && size <= 8 ? size * 8 : shape.operandSize;
}

function operandRegisters(instruction: Instruction): number[] {
  return Array.from({ length: instruction.opCount }, (_, i) =>
    instruction.opKind(i) === OpKind.Register ? (registerNames.get(instruction.opRegister(i))?.index ?? -1) : -1,
  );
}

/** The manual's mnemonic; the two meanings of MOVSD and CMPSD are told apart. */
export function mnemonicOf(shape: Shape, instruction: Instruction): string {
  const name = (Mnemonic[instruction.mnemonic] as string).toUpperCase();
  const isString = shape.kinds.some((kind) => kind.startsWith('seg_rSI') || kind.endsWith('_rDI'));
  return (name === 'MOVSD' || name === 'CMPSD') && !isString ? `${name}_SSE` : name;
}

/** One case, or null where this random choice came to nothing. */
export function makeCase(random: Random, shape: Shape, mode: VectorMode, background: Uint8Array, family: string): Question | null {
  const size = MemorySizeExt.size(shape.memorySize) || 8;
  const aligned = size >= 16;
  // Some CPUs want the operand of SHA instructions aligned, some do not.
  const target = chooseTarget(random, size, aligned) & (shape.name.startsWith('SHA') ? -16 : -1);
  const encoding = encode(random, shape, { mode, target, wantMemory: random.chance(0.45) });
  if (!encoding) return null;
  const instruction = decodeAs(shape.code, encoding.bytes, mode);
  if (!instruction) return null;
  const state = new State(background, mode, random);
  const mnemonic = mnemonicOf(shape, instruction);
  const kind = classOf(shape.memorySize, mnemonic);
  state.randomFlags();
  // Alignment checks of wider operands differ between CPUs (SDM Vol. 2, "MOVUPS").
  if (mode !== 16 && size <= 8 && !encoding.memory?.vector && random.chance(0.03)) state.flags |= 0x40000;
  if (family === 'x87' || family === 'mmx' || mnemonic.startsWith('F')) state.randomX87(instruction.fpuTopIncrement < 0);
  if (family === 'mmx' && random.chance(0.9)) state.view.setUint16(Image.fsw, state.view.getUint16(Image.fsw, true) & 0x7f00, true);
  if (kind.startsWith('f') || family.startsWith('sse') || family.startsWith('avx') || family === 'fma') state.randomMxcsr();
  setRegisters(random, state, instruction, kind);
  if (encoding.memory) state.setMemory(target, random.chance(0.9) ? lanes(random, kind, size) : lanes(random, 'int64', size));
  const ignore: { offset: number; length: number }[] = [];
  const prefixes = Array.from(encoding.bytes.subarray(0, encoding.bytes.length));
  const context: Context = {
    random,
    state,
    mnemonic,
    code: encoding.bytes,
    target: encoding.memory ? target : null,
    size,
    bits: operandBits(shape, instruction, MemorySizeExt.size(shape.memorySize)),
    addressBits: shape.addressSize || (prefixes.slice(0, 4).includes(0x67) ? (mode === 64 ? 32 : mode === 32 ? 16 : 32) : mode),
    repeated: instruction.hasRepPrefix || instruction.hasRepnePrefix,
    registers: operandRegisters(instruction),
    ignore: (offset, length) => {
      const from = Math.max(offset, Image.memory);
      const to = Math.min(offset + length, Image.size);
      if (to > from) ignore.push({ offset: from, length: to - from });
    },
  };
  prepare(context);
  if (encoding.memory) {
    setAddress(random, state, encoding.memory);
    setVectorIndex(
      random,
      state,
      encoding.memory,
      shape.kinds.some((name) => name.startsWith('mem_vsib64')),
    );
  }
  instruction.free();
  return { code: encoding.bytes, image: state.image, ignore };
}
