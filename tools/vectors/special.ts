/** Instructions whose operands need more care than a random value: pointers, counts, targets, structures in memory. */
import { Image, Place } from '../../packages/conformance/src/index.js';
import type { Random } from './random.js';
import type { State } from './state.js';
import { integer, lanes, valueOf } from './values.js';

/** What a preparation may look at and change. */
export interface Context {
  readonly random: Random;
  readonly state: State;
  readonly mnemonic: string;
  readonly code: Uint8Array;
  /** Address of the memory operand, or null for a register form. */
  readonly target: number | null;
  /** Bytes of the memory operand. */
  readonly size: number;
  /** Operand size in bits as the form has it (8 … 64), 0 when it has none. */
  readonly bits: number;
  readonly addressBits: number;
  readonly repeated: boolean;
  /** Register numbers of the operands by position; -1 for others. */
  readonly registers: readonly number[];
  /** Adds a part of the image that must not be compared. */
  readonly ignore: (offset: number, length: number) => void;
}

const RAX = 0,
  RCX = 1,
  RDX = 2,
  RBX = 3,
  RSP = 4,
  RBP = 5,
  RSI = 6,
  RDI = 7;
const END = Place.window + Place.windowBytes;

const codeTarget = (random: Random): number =>
  random.chance(0.5) ? Place.start + random.between(0x20, 0x600) : Place.start - random.between(0x20, 0x600);

/** A branch target: mostly code, seldom an address that faults. */
function anyTarget({ random, state }: Context): bigint {
  if (random.chance(0.93)) return BigInt(codeTarget(random));
  return state.mode === 64 && random.chance(0.5) ? 0x8000_0000_0000n + random.bits(40) : BigInt(END + random.below(0x1000));
}

function operandWrite(context: Context, value: bigint): void {
  const { state, target, registers, bits } = context;
  const width = bits || state.mode;
  if (target !== null) state.setMemoryInt(target, value, width / 8);
  else if (registers[0] !== undefined && registers[0] >= 0) state.setGpr(registers[0], value, width);
}

function stackTop(context: Context, slack: number): void {
  const { random, state } = context;
  if (random.chance(0.06))
    state.setGpr(RSP, BigInt(random.chance(0.5) ? Place.window + random.below(slack) : END - random.below(slack)), state.mode === 16 ? 16 : 64);
  else state.setGpr(RSP, BigInt(Place.window + 0x1000 + random.between(-0x80, 0x80) * (random.chance(0.8) ? 8 : 1)), state.mode === 16 ? 16 : 64);
}

function strings(context: Context): void {
  const { random, state, mnemonic, repeated, addressBits } = context;
  const width = { B: 1, W: 2, D: 4, Q: 8 }[mnemonic.slice(-1)] ?? 1;
  const down = random.chance(0.4);
  state.flags = (state.flags & ~0x400) | (down ? 0x400 : 0);
  const count = repeated ? (random.chance(0.1) ? 0 : random.between(1, random.chance(0.3) ? 40 : 8)) : 1;
  const place = (edge: boolean): number => {
    const span = count * width;
    if (edge && random.chance(0.12)) return down ? Place.window + random.below(span + 1) : END - random.below(span + 1);
    return Place.window + 0x800 + random.below(0x1000);
  };
  // Which of the two operands of CMPS is read first is not said: only one of them may fault.
  const source = place(!mnemonic.startsWith('CMPS'));
  const destination = random.chance(0.4) ? source + random.between(-12, 12) * (random.chance(0.7) ? width : 1) : place(true);
  state.setGpr(RSI, BigInt(source), addressBits);
  state.setGpr(RDI, BigInt(destination), addressBits);
  if (repeated) state.setGpr(RCX, BigInt(count), addressBits);
  compareMaterial(context, source, destination, width, count);
}

/** Makes CMPS and SCAS run for a while before they find what they look for. */
function compareMaterial({ random, state, mnemonic }: Context, source: number, destination: number, width: number, count: number): void {
  const alike = random.chance(0.5);
  if (mnemonic.startsWith('SCAS')) {
    const value = valueOf(random, 'int64');
    state.setPart(RAX, 0, value, 8 * width);
    for (let i = -count; i <= count; i++) if (random.chance(alike ? 0.85 : 0.15)) state.setMemoryInt(destination + i * width, value, width);
  }
  if (mnemonic.startsWith('CMPS')) {
    for (let i = -count; i <= count; i++) {
      if (!random.chance(alike ? 0.85 : 0.15)) continue;
      const value = random.bits(64);
      state.setMemoryInt(source + i * width, value, width);
      state.setMemoryInt(destination + i * width, value, width);
    }
  }
}

function bitString(context: Context): void {
  const { random, state, target, bits, registers } = context;
  if (target === null || registers[1] === undefined || registers[1] < 0) return;
  const reach = random.chance(0.5) ? bits : 0x800;
  state.setGpr(registers[1], BigInt(random.between(-reach, reach)), bits);
}

/** A dividend whose quotient mostly fits. */
function division(context: Context): void {
  const { random, state, bits, mnemonic } = context;
  if (random.chance(0.12)) return;
  const signed = mnemonic === 'IDIV';
  const fit = (value: bigint, width: number): bigint => (signed ? BigInt.asIntN(width, value) : BigInt.asUintN(width, value));
  const divisor = fit(integer(random, bits), bits) || 3n;
  const quotient = fit(integer(random, bits), bits);
  const magnitude = divisor < 0n ? -divisor : divisor;
  let remainder = BigInt.asUintN(bits, random.bits(bits)) % magnitude;
  if (quotient * divisor < 0n) remainder = -remainder;
  const dividend = BigInt.asUintN(2 * bits, quotient * divisor + remainder);
  if (bits === 8) state.setPart(RAX, 0, dividend, 16);
  else {
    state.setPart(RAX, 0, dividend, bits);
    state.setPart(RDX, 0, dividend >> BigInt(bits), bits);
  }
  operandKeep(context, BigInt.asUintN(bits, divisor));
}

/** Writes the first operand without touching what an overlapping register must keep. */
function operandKeep({ state, target, registers, bits }: Context, value: bigint): void {
  if (target !== null) state.setMemoryInt(target, value, bits / 8);
  else if (registers[0] !== undefined && registers[0] !== RAX && registers[0] !== RDX && registers[0] >= 0)
    state.setPart(registers[0], 0, value, bits);
}

function compareExchange(context: Context): void {
  const { random, state, target, size, bits, registers, mnemonic } = context;
  if (!random.chance(0.5)) return;
  const value = random.bits(size * 8 || bits);
  if (mnemonic !== 'CMPXCHG') {
    if (target === null) return;
    const half = size * 4;
    state.setMemoryInt(target, value, size);
    state.setPart(RAX, 0, value, half);
    state.setPart(RDX, 0, value >> BigInt(half), half);
    return;
  }
  state.setPart(RAX, 0, value, bits);
  if (target !== null) state.setMemoryInt(target, value, bits / 8);
  else if (registers[0] !== undefined && registers[0] >= 0) state.setPart(registers[0], 0, value, bits);
}

function textCompare(context: Context): void {
  const { random, state, target, registers, code } = context;
  const wide = (code[code.length - 1] as number) & 1;
  const text = (): Uint8Array =>
    Uint8Array.from({ length: 16 }, (_, i) =>
      wide && i & 1
        ? random.chance(0.9)
          ? 0
          : random.below(256)
        : random.chance(0.12)
          ? 0
          : random.chance(0.1)
            ? random.below(256)
            : 0x61 + random.below(4),
    );
  const first = text();
  const second = random.chance(0.3) ? first.slice() : text();
  if (random.chance(0.3)) second.copyWithin(0, random.below(4) * 2);
  const write = (register: number | undefined, bytes: Uint8Array): void => {
    if (register !== undefined && register >= 0) state.image.set(bytes, Image.vec + 32 * register);
  };
  write(registers[0], first);
  if (target !== null) state.setMemory(target, second);
  else write(registers[1], second);
  state.setGpr(RAX, BigInt.asUintN(64, BigInt(random.between(-20, 20))), random.chance(0.5) ? 64 : 32);
  state.setGpr(RDX, BigInt.asUintN(64, BigInt(random.between(-20, 20))), random.chance(0.5) ? 64 : 32);
}

/** Counts of vector shifts: mostly near the width of a lane. */
function vectorCount(context: Context): void {
  const { random, state, target, registers } = context;
  const count = random.chance(0.8) ? BigInt(random.below(70)) : integer(random, 64);
  const last = registers[registers.length - 1];
  const bytes = new Uint8Array(16);
  new DataView(bytes.buffer).setBigUint64(0, count, true);
  new DataView(bytes.buffer).setBigUint64(8, random.bits(64), true);
  if (target !== null) state.setMemory(target, bytes);
  else if (last !== undefined && last >= 0 && !context.mnemonic.startsWith('P')) state.image.set(bytes, Image.vec + 32 * last);
  else if (last !== undefined && last >= 0) {
    if (context.size === 8) state.setMm(last, bytes);
    else state.image.set(bytes, Image.vec + 32 * last);
  }
}

/** Per-lane counts (VPSLLV and the like) and selectors: small numbers in every lane. */
function smallLanes(context: Context): void {
  const { random, state, target, registers, size } = context;
  const step = context.mnemonic.endsWith('Q') ? 8 : 4;
  const bytes = new Uint8Array(32);
  for (let at = 0; at < 32; at += step) bytes[at] = random.below(72);
  if (random.chance(0.25)) return;
  if (target !== null) state.setMemory(target, bytes.subarray(0, size));
  else {
    const last = registers[registers.length - 1];
    if (last !== undefined && last >= 0) state.setVector(last, bytes);
  }
}

/** Signs of mask lanes (VMASKMOV, VPMASKMOV): each lane on or off, and nothing else matters. */
function maskLanes(context: Context, register: number | undefined): void {
  if (register !== undefined && register >= 0) context.state.setVector(register, lanes(context.random, 'int32', 32));
}

function environment(context: Context, full: boolean): void {
  const { random, state, target, size } = context;
  if (target === null) return;
  const narrow = size === 14 || size === 94;
  const unit = narrow ? 2 : 4;
  const masks = random.chance(0.8) ? 0x3f : random.below(64);
  const flags = random.chance(0.7) ? 0 : random.below(64);
  state.setMemoryInt(target, BigInt(0x40 | masks | (random.below(4) << 8) | (random.below(4) << 10)), 2);
  state.setMemoryInt(target + unit, BigInt((random.below(8) << 11) | flags | (random.below(8) << 8) | (random.below(2) << 14)), 2);
  state.setMemoryInt(target + 2 * unit, BigInt(random.below(0x10000)), 2);
  if (full) for (let i = 0; i < 8; i++) state.setMemoryInt(target + (narrow ? 14 : 28) + 10 * i, valueOf(random, 'f80'), 10);
}

/** FIP, FDP, FOP and their selectors in a stored environment: CPUs differ in when they keep them. */
function ignorePointers({ target, size, ignore }: Context): void {
  if (target === null) return;
  const narrow = size === 14 || size === 94;
  const at = target - Place.window + (narrow ? 6 : 12);
  ignore(Image.memory + at, narrow ? 8 : 16);
}

function transcendental(context: Context): void {
  const { random, state, mnemonic } = context;
  const small = (low: number, high: number): bigint => {
    const exponent = BigInt(0x3fff + random.between(low, high));
    return (((BigInt(random.below(2)) << 15n) | exponent) << 64n) | (1n << 63n) | random.bits(63);
  };
  if (random.chance(0.25)) return;
  if (mnemonic === 'F2XM1') state.setSt(0, small(-20, -1));
  else if (mnemonic === 'FYL2XP1') state.setSt(0, small(-20, -3));
  else if (mnemonic === 'FYL2X') state.setSt(0, small(-10, 10) & ~(1n << 79n));
  else if (mnemonic === 'FSCALE') state.setSt(1, small(-3, 10));
  else if (mnemonic === 'FPREM' || mnemonic === 'FPREM1') {
    state.setSt(0, small(-3, random.chance(0.4) ? 90 : 20));
    state.setSt(1, small(-3, 6));
  } else state.setSt(0, small(-12, 6));
}

const preparations: [RegExp, (context: Context) => void][] = [
  [/^(MOVS|CMPS|STOS|LODS|SCAS)[BWDQ]$/, strings],
  [/^(BT|BTS|BTR|BTC)$/, bitString],
  [/^I?DIV$/, division],
  [/^CMPXCHG/, compareExchange],
  [/^V?PCMP[EI]STR[IM]/, textCompare],
  [/^V?PS(LL|RL|RA)[WDQ]$/, vectorCount],
  [/^VPS(LL|RL|RA)V[DQ]$/, smallLanes],
  [
    /^VPERMILP[SD]$|^VPERMD$|^VPERMPS$/,
    (context) => {
      if (context.random.chance(0.5)) smallLanes(context);
    },
  ],
  [/^V(MASKMOVP[SD]|PMASKMOV[DQ])$/, (context) => maskLanes(context, context.registers[1])],
  [
    /^V?MASKMOV(Q|DQU)$/,
    (context) => {
      context.state.setGpr(RDI, BigInt(Place.window + 0x400 + context.random.below(0x800)), context.addressBits);
    },
  ],
  [
    /^XLATB$/,
    (context) => {
      const al = BigInt(context.random.below(256));
      context.state.setPart(RAX, 0, al, 8);
      context.state.setGpr(RBX, BigInt(Place.window + 0x400 + context.random.below(0x1000)) - al, context.addressBits);
    },
  ],
  [
    /^(LOOP|LOOPE|LOOPNE|JCXZ|JECXZ|JRCXZ)$/,
    ({ random, state, addressBits }) => state.setGpr(RCX, BigInt(random.below(3)), random.chance(0.7) ? addressBits : 64),
  ],
  [
    /^(CALL|JMP)$/,
    (context) => {
      stackTop(context, 12);
      if (context.bits) operandWrite(context, anyTarget(context));
    },
  ],
  [
    /^RET$/,
    (context) => {
      stackTop(context, 12);
      context.state.setMemoryInt(Number(BigInt.asUintN(16, context.state.gpr(RSP))), anyTarget(context), 8);
    },
  ],
  [
    /^ENTER$/,
    (context) => {
      stackTop(context, 0x120);
      context.state.setGpr(RBP, BigInt(Place.window + 0x600 + 8 * context.random.below(0x100)), context.state.mode === 16 ? 16 : 64);
    },
  ],
  [
    /^LEAVE$/,
    (context) => {
      const { random, state } = context;
      state.setGpr(
        RBP,
        BigInt(random.chance(0.08) ? END - random.below(10) : Place.window + 0x600 + random.below(0x800)),
        state.mode === 16 ? 16 : 64,
      );
    },
  ],
  [/^(PUSHA?|POPA?|PUSHAD|POPAD|PUSHF[DQ]?)$/, (context) => stackTop(context, 40)],
  [
    /^POPF[DQ]?$/,
    (context) => {
      stackTop(context, 10);
      const { random, state } = context;
      // Not TF and NT: both outlive the case.
      const value = (BigInt(random.u32()) & 0x3fbed7n) | 2n;
      state.setMemoryInt(Number(BigInt.asUintN(16, state.gpr(RSP))), value, 8);
    },
  ],
  [
    /^LDMXCSR$|^VLDMXCSR$/,
    ({ random, state, target }) => {
      if (target !== null) state.setMemoryInt(target, BigInt(random.chance(0.9) ? random.below(0x10000) : random.u32()), 4);
    },
  ],
  [
    /^BOUND$/,
    ({ random, state, target, bits, registers }) => {
      if (target === null) return;
      const low = BigInt(random.between(-50, 50));
      state.setMemoryInt(target, low, bits / 8);
      state.setMemoryInt(target + bits / 8, low + BigInt(random.between(0, 100)), bits / 8);
      state.setGpr(registers[0] as number, BigInt(random.between(-60, 160)), bits);
    },
  ],
  [
    /^WR[FG]SBASE$/,
    ({ random, state, registers, bits }) => {
      if (random.chance(0.8)) state.setGpr(registers[0] as number, random.bits(47), bits);
    },
  ],
  [/^FLDENV$/, (context) => environment(context, false)],
  [/^FRSTOR$/, (context) => environment(context, true)],
  [/^FN?STENV$|^FN?SAVE$/, ignorePointers],
  [/^(F2XM1|FYL2X|FYL2XP1|FPTAN|FPATAN|FSIN|FCOS|FSINCOS|FPREM|FPREM1|FSCALE)$/, transcendental],
  [/^(EXTRQ|INSERTQ)$/, () => {}],
];

/** Prepares the state for what this mnemonic needs. */
export function prepare(context: Context): void {
  for (const [pattern, action] of preparations) if (pattern.test(context.mnemonic)) action(context);
}
