/** Turns a form of the instruction set into concrete bytes with random operands. */
import { EncodingKind, MandatoryPrefix, type OpCodeInfo, OpCodeOperandKind, OpCodeTableKind } from 'iced-x86';
import { Place, type VectorMode } from '../../packages/conformance/src/index.js';
import type { Random } from './random.js';
import { integer } from './values.js';

/** What is needed of an opcode's description, read once (each getter of the original crosses into WebAssembly). */
export interface Shape {
  readonly code: number;
  readonly name: string;
  /** The opcode as the manual prints it. */
  readonly encoding: string;
  readonly kinds: readonly string[];
  readonly vex: boolean;
  readonly table: number;
  readonly mandatory: number;
  readonly opcode: number;
  readonly opcodeLength: number;
  readonly group: number;
  readonly rmGroup: number;
  readonly operandSize: number;
  readonly addressSize: number;
  readonly w: number;
  readonly wig: boolean;
  readonly l: number;
  readonly lig: boolean;
  readonly lock: boolean;
  readonly rep: boolean;
  readonly repne: boolean;
  readonly default64: boolean;
  readonly memorySize: number;
}

/** Copies the description of an opcode. */
export function shapeOf(info: OpCodeInfo): Shape {
  return {
    code: info.code,
    name: info.instructionString,
    encoding: info.opCodeString,
    kinds: Array.from({ length: info.opCount }, (_, i) => OpCodeOperandKind[info.opKind(i)] as string),
    vex: info.encoding === EncodingKind.VEX,
    table: info.table,
    mandatory: info.mandatoryPrefix,
    opcode: info.opCode,
    opcodeLength: info.opCodeLength,
    group: info.groupIndex,
    rmGroup: info.rmGroupIndex,
    operandSize: info.operandSize,
    addressSize: info.addressSize,
    w: info.W,
    wig: info.isWIG,
    l: info.L,
    lig: info.isLIG,
    lock: info.canUseLockPrefix,
    rep: info.canUseRepPrefix,
    repne: info.canUseRepnePrefix,
    default64: info.defaultOpSize64 || info.forceOpSize64,
    memorySize: info.memorySize,
  };
}

/** The memory operand of one encoding: what to write into registers so that it lies at `target`. */
export interface MemoryPlan {
  readonly target: number;
  /** General registers and their values (bits beyond `bits` are free). */
  readonly registers: ReadonlyMap<number, { value: bigint; bits: number }>;
  readonly segment: 'fs' | 'gs' | null;
  readonly segmentBase: bigint;
  /** The index register of a vector-indexed operand, with what every lane may hold: (lane × scale + rest) is the address. */
  readonly vector: { register: number; scale: number; rest: bigint } | null;
}

export interface Encoding {
  readonly bytes: Uint8Array;
  readonly memory: MemoryPlan | null;
}

const isMemoryOnly = (kind: string): boolean => kind === 'mem' || kind.startsWith('mem_vsib');
const isRm = (kind: string): boolean => kind.includes('_or_mem') || kind.endsWith('_rm') || isMemoryOnly(kind);
const isReg = (kind: string): boolean => kind.endsWith('_reg') || kind.endsWith('_reg_mem');
const hasModRm = (shape: Shape): boolean => shape.group >= 0 || shape.kinds.some((kind) => isRm(kind) || isReg(kind));

/** Everything that ModRM, SIB and displacement say, before it becomes bytes. */
interface Operand {
  mod: number;
  rm: number;
  sib: number;
  displacement: bigint;
  displacementBytes: number;
  rexX: number;
  rexB: number;
  ripRelative: boolean;
  plan: MemoryPlan;
}

interface AddressChoice {
  mode: VectorMode;
  addressSize: 16 | 32 | 64;
  target: number;
  segment: 'fs' | 'gs' | null;
  segmentBase: bigint;
  vsib: boolean;
}

function smallDisplacement(random: Random): { displacement: bigint; bytes: number } {
  if (random.chance(0.3)) return { displacement: 0n, bytes: 0 };
  if (random.chance(0.6)) return { displacement: BigInt(random.between(-128, 127)), bytes: 1 };
  return { displacement: BigInt.asIntN(32, integer(random, 32)), bytes: 4 };
}

function address16(random: Random, { target, segment, segmentBase }: AddressChoice): Operand {
  const pairs = [[3, 6], [3, 7], [5, 6], [5, 7], [6], [7], [5], [3]];
  const rm = random.below(8);
  const mod = random.below(3);
  const registers = new Map<number, { value: bigint; bits: number }>();
  let displacement = mod === 0 ? 0n : mod === 1 ? BigInt(random.between(-128, 127)) : BigInt.asIntN(16, random.bits(16));
  let bytes = mod;
  if (mod === 0 && rm === 6) {
    displacement = BigInt(target);
    bytes = 2;
  } else {
    const [base, index] = pairs[rm] as number[];
    let rest = BigInt(target) - displacement;
    if (index !== undefined) {
      const value = random.bits(16);
      registers.set(index, { value, bits: 16 });
      rest -= value;
    }
    registers.set(base as number, { value: BigInt.asUintN(16, rest), bits: 16 });
  }
  return {
    mod,
    rm,
    sib: -1,
    displacement,
    displacementBytes: bytes,
    rexX: 0,
    rexB: 0,
    ripRelative: false,
    plan: { target, registers, segment, segmentBase, vector: null },
  };
}

function addressVector(random: Random, choice: AddressChoice): Operand {
  const scale = random.below(4);
  const limit = choice.mode === 64 ? 16 : 8;
  const index = random.below(limit);
  const base = random.below(limit);
  const small = smallDisplacement(random);
  let { displacement, bytes } = small;
  const registers = new Map<number, { value: bigint; bits: number }>();
  let mod = bytes === 0 ? 0 : bytes === 1 ? 1 : 2;
  if (mod === 0 && (base & 7) === 5) {
    mod = 1;
    bytes = 1;
    displacement = 0n;
  }
  const anchor = BigInt.asUintN(choice.addressSize, BigInt(choice.target) - choice.segmentBase - displacement);
  registers.set(base, { value: anchor, bits: choice.addressSize });
  return {
    mod,
    rm: 4,
    sib: (scale << 6) | ((index & 7) << 3) | (base & 7),
    displacement,
    displacementBytes: bytes,
    rexX: index >> 3,
    rexB: base >> 3,
    ripRelative: false,
    plan: {
      target: choice.target,
      registers,
      segment: choice.segment,
      segmentBase: choice.segmentBase,
      vector: { register: index, scale, rest: BigInt(choice.target) },
    },
  };
}

function addressFlat(random: Random, choice: AddressChoice): Operand {
  const { mode, addressSize: bits, target, segment, segmentBase } = choice;
  const goal = BigInt(target) - segmentBase;
  const limit = mode === 64 ? 16 : 8;
  const registers = new Map<number, { value: bigint; bits: number }>();
  const done = (operand: Omit<Operand, 'plan'>): Operand => ({ ...operand, plan: { target, registers, segment, segmentBase, vector: null } });
  const near = goal >= -0x80000000n && goal < 0x80000000n;
  const kind = random.below(10);
  if (kind === 0 && near && segment === null) {
    return done({ mod: 0, rm: 5, sib: -1, displacement: goal, displacementBytes: 4, rexX: 0, rexB: 0, ripRelative: mode === 64 });
  }
  if (kind === 1 && near && mode === 64) {
    return done({ mod: 0, rm: 4, sib: 0x25, displacement: goal, displacementBytes: 4, rexX: 0, rexB: 0, ripRelative: false });
  }
  const { displacement, bytes } = smallDisplacement(random);
  const base = random.below(limit);
  const mod = bytes === 0 ? 0 : bytes === 1 ? 1 : 2;
  const wrap = (value: bigint): bigint => BigInt.asUintN(bits, value);
  if (kind < 6 && (base & 7) !== 4 && !(mod === 0 && (base & 7) === 5)) {
    registers.set(base, { value: wrap(goal - displacement), bits });
    return done({ mod, rm: base & 7, sib: -1, displacement, displacementBytes: bytes, rexX: 0, rexB: base >> 3, ripRelative: false });
  }
  const index = random.below(limit);
  const scale = random.below(4);
  const indexValue = index === 4 ? 0n : random.chance(0.5) ? BigInt(random.between(-64, 64)) : random.bits(bits);
  if (mod === 0 && (base & 7) === 5) {
    // No base: the displacement alone must do what the index leaves over.
    const value = BigInt(random.between(-64, 64));
    const rest = BigInt.asIntN(bits, goal - (index === 4 ? 0n : value << BigInt(scale)));
    if (rest >= -0x80000000n && rest < 0x80000000n) {
      if (index !== 4) registers.set(index, { value: wrap(value), bits });
      return done({
        mod: 0,
        rm: 4,
        sib: (scale << 6) | ((index & 7) << 3) | 5,
        displacement: rest,
        displacementBytes: 4,
        rexX: index >> 3,
        rexB: base >> 3,
        ripRelative: false,
      });
    }
  }
  const fixedMod = mod === 0 && (base & 7) === 5 ? 1 : mod;
  const fixedDisplacement = fixedMod === mod ? displacement : 0n;
  const fixedBytes = fixedMod === mod ? bytes : 1;
  if (index === base) {
    // Both are one register: solvable only by luck, so the index goes.
    registers.set(base, { value: wrap(goal - fixedDisplacement), bits });
    return done({
      mod: fixedMod,
      rm: 4,
      sib: 0x20 | (base & 7),
      displacement: fixedDisplacement,
      displacementBytes: fixedBytes,
      rexX: 0,
      rexB: base >> 3,
      ripRelative: false,
    });
  }
  if (index !== 4) registers.set(index, { value: wrap(indexValue), bits });
  registers.set(base, { value: wrap(goal - fixedDisplacement - (wrap(indexValue) << BigInt(scale))), bits });
  return done({
    mod: fixedMod,
    rm: 4,
    sib: (scale << 6) | ((index & 7) << 3) | (base & 7),
    displacement: fixedDisplacement,
    displacementBytes: fixedBytes,
    rexX: index >> 3,
    rexB: base >> 3,
    ripRelative: false,
  });
}

function littleEndian(value: bigint, bytes: number): number[] {
  return Array.from({ length: bytes }, (_, i) => Number((value >> BigInt(8 * i)) & 0xffn));
}

/** A branch displacement whose target lies in the code pages, but not within the instruction itself. */
function branchDisplacement(random: Random, bytes: number): bigint {
  if (bytes === 1) return BigInt(random.chance(0.5) ? random.between(0, 127) : random.between(-128, -20));
  return BigInt(random.chance(0.5) ? random.between(0, 0x700) : random.between(-0x700, -20));
}

function immediates(random: Random, shape: Shape, addressSize: number, target: number): number[] {
  const bytes: number[] = [];
  for (const kind of shape.kinds) {
    if (kind.endsWith('_is4')) bytes.push(random.below(16) << 4);
    else if (kind === 'imm8_const_1') continue;
    else if (kind.startsWith('imm8')) bytes.push(Number(integer(random, 8)));
    else if (kind.startsWith('imm16')) bytes.push(...littleEndian(integer(random, 16), 2));
    else if (kind.startsWith('imm32')) bytes.push(...littleEndian(integer(random, 32), 4));
    else if (kind === 'imm64') bytes.push(...littleEndian(integer(random, 64), 8));
    else if (kind === 'mem_offs') bytes.push(...littleEndian(BigInt(target), addressSize / 8));
    else if (kind.startsWith('br')) {
      const size = Number(kind.slice(-1));
      bytes.push(...littleEndian(branchDisplacement(random, size), size));
    }
  }
  return bytes;
}

const opcodeBytes = (shape: Shape): number[] => (shape.opcodeLength === 2 ? [shape.opcode >> 8, shape.opcode & 0xff] : [shape.opcode]);
const mandatoryByte: Partial<Record<number, number>> = { [MandatoryPrefix.P66]: 0x66, [MandatoryPrefix.PF3]: 0xf3, [MandatoryPrefix.PF2]: 0xf2 };

export interface EncodeOptions {
  readonly mode: VectorMode;
  /** Where a memory operand should be. */
  readonly target: number;
  /** False asks for the register form where there is a choice. */
  readonly wantMemory: boolean;
}

/** Segment override bytes; in 64-bit mode only FS and GS have a base, elsewhere only the flat ones are used. */
function segmentChoice(random: Random, mode: VectorMode, addressSize: number): { prefix: number; segment: 'fs' | 'gs' | null; base: bigint } {
  if (!random.chance(0.1)) return { prefix: 0, segment: null, base: 0n };
  if (mode !== 64) return { prefix: random.pick([0x26, 0x36, 0x3e, 0x2e]), segment: null, base: 0n };
  if (random.chance(0.25)) return { prefix: random.pick([0x26, 0x2e, 0x36, 0x3e]), segment: null, base: 0n };
  const segment = random.pick(['fs', 'gs'] as const);
  const base = addressSize === 64 && random.chance(0.6) ? BigInt.asUintN(64, BigInt.asIntN(47, random.bits(47))) : BigInt(random.below(0x7000));
  return { prefix: segment === 'fs' ? 0x64 : 0x65, segment, base };
}

function memoryOperand(
  random: Random,
  shape: Shape,
  options: EncodeOptions,
  addressSize: 16 | 32 | 64,
  segment: 'fs' | 'gs' | null,
  segmentBase: bigint,
): Operand {
  const choice: AddressChoice = {
    mode: options.mode,
    addressSize,
    target: options.target,
    segment,
    segmentBase,
    vsib: shape.kinds.some((kind) => kind.startsWith('mem_vsib')),
  };
  if (choice.vsib) return addressVector(random, choice);
  return addressSize === 16 ? address16(random, choice) : addressFlat(random, choice);
}

/** One encoding of a form, or null where this random choice has none. */
export function encode(random: Random, shape: Shape, options: EncodeOptions): Encoding | null {
  const { mode } = options;
  const modrm = hasModRm(shape);
  const vsib = shape.kinds.some((kind) => kind.startsWith('mem_vsib'));
  const useMemory = shape.kinds.some(isMemoryOnly) || (options.wantMemory && shape.kinds.some((kind) => kind.includes('_or_mem')));
  const offs = shape.kinds.includes('mem_offs');
  const natural = mode;
  const other = mode === 64 ? 32 : mode === 32 ? 16 : 32;
  let addressSize: 16 | 32 | 64 = natural;
  if (shape.addressSize !== 0) addressSize = shape.addressSize as 16 | 32 | 64;
  else if (random.chance(0.12) && !(vsib && other === 16)) addressSize = other;
  if (vsib && addressSize === 16) addressSize = 32;
  const chosen = useMemory || offs ? segmentChoice(random, mode, addressSize) : { prefix: 0, segment: null, base: 0n };
  if (offs && chosen.segment !== null) return null;
  const operand = useMemory ? memoryOperand(random, shape, options, addressSize, chosen.segment, chosen.base) : null;

  const prefixes: number[] = [];
  if (chosen.prefix) prefixes.push(chosen.prefix);
  if (addressSize !== natural) prefixes.push(0x67);
  const registerLimit = mode === 64 ? 16 : 8;
  const regField = shape.group >= 0 ? shape.group : random.below(registerLimit);
  const rmField = shape.rmGroup >= 0 ? shape.rmGroup : random.below(registerLimit);
  const rexR = shape.group >= 0 ? 0 : regField >> 3;
  const rexX = operand ? operand.rexX : 0;
  const low = shape.kinds.find((kind) => kind.endsWith('_opcode'));
  const lowField = low ? random.below(low.startsWith('st') ? 8 : registerLimit) : 0;
  const rexB = operand ? operand.rexB : low ? lowField >> 3 : modrm ? rmField >> 3 : 0;
  const op = opcodeBytes(shape);
  op[op.length - 1] += lowField & 7;

  const head: number[] = [];
  if (shape.vex) {
    const l = shape.lig ? (random.chance(0.2) ? 1 : 0) : shape.l;
    const w = shape.wig ? (random.chance(0.2) ? 1 : 0) : shape.w;
    const hasVvvv = shape.kinds.some((kind) => kind.endsWith('_vvvv'));
    const vvvv = hasVvvv ? random.below(registerLimit) : 0;
    const pp = { [MandatoryPrefix.P66]: 1, [MandatoryPrefix.PF3]: 2, [MandatoryPrefix.PF2]: 3 }[shape.mandatory] ?? 0;
    const last = ((~vvvv & 15) << 3) | (l << 2) | pp;
    if (shape.table === OpCodeTableKind.T0F && !w && !rexX && !rexB && random.chance(0.6)) head.push(0xc5, ((rexR ^ 1) << 7) | last);
    else head.push(0xc4, ((rexR ^ 1) << 7) | ((rexX ^ 1) << 6) | ((rexB ^ 1) << 5) | shape.table, (w << 7) | last);
  } else {
    const small = mode === 16 ? 32 : 16;
    if (shape.operandSize === small) prefixes.push(0x66);
    const mandatory = mandatoryByte[shape.mandatory];
    if (mandatory) prefixes.push(mandatory);
    if (shape.lock && useMemory && random.chance(0.3)) prefixes.push(0xf0);
    if (shape.rep && random.chance(0.65)) prefixes.push(shape.repne && random.chance(0.5) ? 0xf2 : 0xf3);
    if (random.chance(0.5)) prefixes.reverse();
    const needW = shape.operandSize === 64 && !shape.default64 ? 1 : 0;
    let rex = (needW << 3) | (rexR << 2) | (rexX << 1) | rexB;
    if (mode === 64 && (rex !== 0 || random.chance(0.25))) {
      if (shape.default64 && random.chance(0.2)) rex |= 8;
      head.push(0x40 | rex);
    }
    if (shape.table !== OpCodeTableKind.Normal) head.push(0x0f);
    if (shape.table === OpCodeTableKind.T0F38) head.push(0x38);
    if (shape.table === OpCodeTableKind.T0F3A) head.push(0x3a);
  }
  const body = [...prefixes, ...head, ...op];
  let displacementAt = -1;
  if (modrm) {
    body.push(operand ? (operand.mod << 6) | ((regField & 7) << 3) | operand.rm : 0xc0 | ((regField & 7) << 3) | (rmField & 7));
    if (operand && operand.sib >= 0) body.push(operand.sib);
    displacementAt = body.length;
    if (operand) body.push(...littleEndian(operand.displacement, operand.displacementBytes));
  }
  body.push(...immediates(random, shape, addressSize, options.target));
  if (body.length > 15) return null;
  if (operand?.ripRelative) {
    const bytes = littleEndian(operand.displacement - BigInt(Place.start + body.length), 4);
    body.splice(displacementAt, 4, ...bytes);
  }
  const offsPlan: MemoryPlan = { target: options.target, registers: new Map(), segment: null, segmentBase: 0n, vector: null };
  return { bytes: Uint8Array.from(body), memory: operand?.plan ?? (offs ? offsPlan : null) };
}
