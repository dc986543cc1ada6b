import { Vector } from '@nestvm/isa';
import type { Instruction } from '@nestvm/decoder';
import { operandAddress } from '../address.js';
import { Outcome } from '../outcome.js';
import type { Vcpu } from '../vcpu.js';
import { CPL, RIP, SEG_SELECTOR, word } from '../words.js';
import {
  add, compare, divide, DOUBLE, exponentOf, Flag, type Float80, fromInteger, INDEFINITE, infinity, isDenormal, isInfinite, isNan, isSignaling, isUnsupported, isZero, multiply, narrow, type Result, round,
  type Rounding, SINGLE, specialOperands, squareRoot, subtract, toInteger, toIntegral, widen, zero,
} from '../x87/float80.js';

const FCW = word('fcw');
const FSW = word('fsw');
const FTOP = word('ftop');
const FTAG = word('ftag');
const FOP = word('fop');
const FCS = word('fcs');
const FDS = word('fds');
const FIP = word('fip');
const FDP = word('fdp');
const FPR_QUAD = word('fpr') >>> 1;
const C0 = 0x100;
const C1 = 0x200;
const C2 = 0x400;
const C3 = 0x4000;
const ES_B = 0x8080;
const PRECOMPUTATION = Flag.IE | Flag.DE | Flag.ZE;
const PRECISION = [24, 64, 53, 64];

type Body = (cpu: Vcpu, insn: Readonly<Instruction>) => Outcome;

const physical = (cpu: Vcpu, i: number): number => (cpu.w[FTOP]! + i) & 7;
const isEmpty = (cpu: Vcpu, i: number): boolean => ((cpu.w[FTAG]! >>> physical(cpu, i)) & 1) === 0;

function readSt(cpu: Vcpu, i: number): Float80 {
  const at = FPR_QUAD + 2 * physical(cpu, i);
  const high = Number(cpu.q[at + 1]! & 0xffffn);
  return { sign: (high >>> 15) as 0 | 1, exponent: high & 0x7fff, significand: cpu.q[at]! };
}

function writeSt(cpu: Vcpu, i: number, f: Float80): void {
  const n = physical(cpu, i);
  cpu.q[FPR_QUAD + 2 * n] = f.significand;
  cpu.q[FPR_QUAD + 2 * n + 1] = BigInt((f.sign << 15) | f.exponent);
  cpu.w[FTAG] = cpu.w[FTAG]! | (1 << n);
}

function pop(cpu: Vcpu): void {
  cpu.w[FTAG] = cpu.w[FTAG]! & ~(1 << physical(cpu, 0));
  cpu.w[FTOP] = (cpu.w[FTOP]! + 1) & 7;
}

const rounding = (cpu: Vcpu): Rounding => ({ precision: PRECISION[(cpu.w[FCW]! >>> 8) & 3]!, control: (cpu.w[FCW]! >>> 10) & 3, masks: cpu.w[FCW]! & 0x3f });
const control = (cpu: Vcpu): number => (cpu.w[FCW]! >>> 10) & 3;

/** Notes exceptions; true when an unmasked pre-computation one keeps the instruction from having results. */
function raise(cpu: Vcpu, flags: number): boolean {
  const { w } = cpu;
  w[FSW] = (w[FSW]! & ~C1) | flags;
  const open = flags & ~w[FCW]! & 0x3f;
  if (open !== 0) w[FSW] = w[FSW]! | ES_B;
  return (open & PRECOMPUTATION) !== 0;
}

/** Stack underflow (an empty operand) or overflow (a full destination); true when it is unmasked. */
const stackFault = (cpu: Vcpu, overflow: boolean): boolean => raise(cpu, Flag.IE | Flag.SF | (overflow ? C1 : 0));

/** Waits for pending exceptions, notes the instruction's address, and runs the body. */
function waiting(body: Body, keepsPointers = false): Body {
  return (cpu, insn) => {
    const { w, h } = cpu;
    if ((w[FSW]! & 0x80) !== 0) return cpu.raise(Vector.MF);
    const outcome = body(cpu, insn);
    if (outcome === Outcome.NEXT && !keepsPointers) {
      w[FIP] = w[RIP]!;
      w[FIP + 1] = w[RIP + 1]!;
      w[FCS] = h[SEG_SELECTOR + 1]!;
      w[FOP] = ((insn.opcode & 7) << 8) | (insn.mod << 6) | ((insn.reg & 7) << 3) | (insn.rm & 7);
    }
    return outcome;
  };
}

/** Reads the memory operand's bits; null after a fault. */
function readMemory(cpu: Vcpu, insn: Readonly<Instruction>, bytes: number): bigint | null {
  if (!operandAddress(cpu, insn, bytes, false)) return null;
  notePointer(cpu, insn);
  const buffer = new Uint8Array(bytes);
  if (!cpu.linear.readBytes(cpu.lo, cpu.hi, buffer, cpu.w[CPL] === 3)) return null;
  return buffer.reduceRight((sum, byte) => (sum << 8n) | BigInt(byte), 0n);
}

function writeMemory(cpu: Vcpu, insn: Readonly<Instruction>, bytes: number, bits: bigint): boolean {
  if (!operandAddress(cpu, insn, bytes, true)) return false;
  notePointer(cpu, insn);
  const buffer = Uint8Array.from({ length: bytes }, (_, i) => Number((bits >> BigInt(8 * i)) & 0xffn));
  return cpu.linear.writeBytes(cpu.lo, cpu.hi, buffer, cpu.w[CPL] === 3);
}

function notePointer(cpu: Vcpu, insn: Readonly<Instruction>): void {
  cpu.w[FDP] = cpu.lo;
  cpu.w[FDP + 1] = cpu.hi;
  cpu.w[FDS] = cpu.h[SEG_SELECTOR + insn.segment]!;
}

const memoryType = (insn: Readonly<Instruction>): string | undefined => (insn.mod === 3 ? undefined : insn.row.operands[0]!.type);
const INTEGER_BYTES: Readonly<Record<string, number>> = { w: 2, d: 4, q: 8 };

/** The source operand in memory as a register value; null after a fault. */
function readSource(cpu: Vcpu, insn: Readonly<Instruction>): Result | null {
  const type = memoryType(insn)!;
  const bytes = type === 'fs' ? 4 : type === 'fd' ? 8 : type === 'ft' ? 10 : INTEGER_BYTES[type]!;
  const bits = readMemory(cpu, insn, bytes);
  if (bits === null) return null;
  if (type === 'fs') return widen(bits, SINGLE);
  if (type === 'fd') return widen(bits, DOUBLE);
  if (type === 'ft') return { value: { sign: Number(bits >> 79n) as 0 | 1, exponent: Number(bits >> 64n) & 0x7fff, significand: BigInt.asUintN(64, bits) }, flags: 0 };
  return { value: fromInteger(BigInt.asIntN(8 * bytes, bits)), flags: 0 };
}

/** Puts a value on the stack. */
function push(cpu: Vcpu, result: Result): Outcome {
  if (!isEmpty(cpu, 7)) {
    if (stackFault(cpu, true)) return Outcome.NEXT;
    cpu.w[FTOP] = (cpu.w[FTOP]! + 7) & 7;
    writeSt(cpu, 0, INDEFINITE);
    return Outcome.NEXT;
  }
  if (raise(cpu, result.flags)) return Outcome.NEXT;
  cpu.w[FTOP] = (cpu.w[FTOP]! + 7) & 7;
  writeSt(cpu, 0, result.value);
  return Outcome.NEXT;
}

type Binary = (a: Float80, b: Float80, r: Rounding) => Result;

/** FADD and its kin: register and memory forms, reversed or not, popping or not. */
function arithmetic(operation: Binary, reversed: boolean, pops: boolean): Body {
  return waiting((cpu, insn) => {
    const memory = insn.mod !== 3;
    const source = memory ? readSource(cpu, insn) : null;
    if (memory && source === null) return Outcome.FAULT;
    const toSti = !memory && insn.row.operands[0]!.method === 'STi';
    const i = insn.rm & 7;
    const [dst, src] = toSti ? [i, 0] : [0, i];
    if (isEmpty(cpu, dst) || (!memory && isEmpty(cpu, src))) {
      if (stackFault(cpu, false)) return Outcome.NEXT;
      writeSt(cpu, dst, INDEFINITE);
      if (pops) pop(cpu);
      return Outcome.NEXT;
    }
    const a = readSt(cpu, dst);
    const b = source?.value ?? readSt(cpu, src);
    const result = reversed ? operation(b, a, rounding(cpu)) : operation(a, b, rounding(cpu));
    if (raise(cpu, result.flags | (source?.flags ?? 0))) return Outcome.NEXT;
    writeSt(cpu, dst, result.value);
    if (pops) pop(cpu);
    return Outcome.NEXT;
  });
}

/** An instruction on ST(0) alone. */
function unary(operation: (a: Float80, cpu: Vcpu) => Result): Body {
  return waiting((cpu) => {
    if (isEmpty(cpu, 0)) {
      if (!stackFault(cpu, false)) writeSt(cpu, 0, INDEFINITE);
      return Outcome.NEXT;
    }
    const result = operation(readSt(cpu, 0), cpu);
    if (!raise(cpu, result.flags)) writeSt(cpu, 0, result.value);
    return Outcome.NEXT;
  });
}

/** Comparison into C3, C2, C0, or into ZF, PF, CF. */
function comparison(options: { quiet?: boolean; pops?: number; eflags?: boolean; zero?: boolean; second?: boolean }): Body {
  return waiting((cpu, insn) => {
    const memory = insn.mod !== 3;
    const source = memory ? readSource(cpu, insn) : null;
    if (memory && source === null) return Outcome.FAULT;
    const i = options.second ? 1 : insn.rm & 7;
    const empty = isEmpty(cpu, 0) || (!memory && !options.zero && isEmpty(cpu, i));
    const b = empty ? zero(0) : (source?.value ?? (options.zero ? zero(0) : readSt(cpu, i)));
    const a = readSt(cpu, 0);
    const order = empty ? 2 : compare(a, b);
    const bad = options.quiet ? isSignaling(a) || isSignaling(b) || isUnsupported(a) || isUnsupported(b) : order === 2;
    const flags = empty ? Flag.IE | Flag.SF : (source?.flags ?? 0) | (bad ? Flag.IE : 0) | (order !== 2 && (isDenormal(a) || isDenormal(b)) ? Flag.DE : 0);
    const stop = raise(cpu, flags);
    const [cf, pf, zf] = order === 2 ? [1, 1, 1] : [order < 0 ? 1 : 0, 0, order === 0 ? 1 : 0];
    if (options.eflags) {
      if (!stop) cpu.writeArithmeticFlags(cf | (pf << 2) | (zf << 6));
    } else cpu.w[FSW] = (cpu.w[FSW]! & ~(C0 | C2 | C3)) | (cf === 1 ? C0 : 0) | (pf === 1 ? C2 : 0) | (zf === 1 ? C3 : 0);
    if (!stop) for (let n = options.pops ?? 0; n > 0; n--) pop(cpu);
    return Outcome.NEXT;
  });
}

/** FST and FSTP, to memory or a register. */
function store(pops: boolean): Body {
  return waiting((cpu, insn) => {
    const type = memoryType(insn);
    const empty = isEmpty(cpu, 0);
    if (type === undefined) {
      if (empty && stackFault(cpu, false)) return Outcome.NEXT;
      if (!empty) cpu.w[FSW] = cpu.w[FSW]! & ~C1;
      writeSt(cpu, insn.rm & 7, empty ? INDEFINITE : readSt(cpu, 0));
      if (pops) pop(cpu);
      return Outcome.NEXT;
    }
    const value = empty ? INDEFINITE : readSt(cpu, 0);
    const format = type === 'fs' ? SINGLE : DOUBLE;
    const result = type === 'ft' ? { bits: (BigInt((value.sign << 15) | value.exponent) << 64n) | value.significand, flags: 0 } : narrow(value, format, control(cpu));
    return storeBits(cpu, insn, type === 'fs' ? 4 : type === 'fd' ? 8 : 10, result, empty, pops);
  });
}

/** Stores to memory unless an unmasked exception forbids it. */
function storeBits(cpu: Vcpu, insn: Readonly<Instruction>, bytes: number, result: { bits: bigint; flags: number }, empty: boolean, pops: boolean): Outcome {
  const flags = empty ? Flag.IE | Flag.SF : result.flags;
  const forbidden = (flags & ~cpu.w[FCW]! & (PRECOMPUTATION | Flag.OE | Flag.UE)) !== 0;
  if (forbidden) {
    raise(cpu, flags & ~Flag.PE);
    return Outcome.NEXT;
  }
  if (!writeMemory(cpu, insn, bytes, result.bits)) return Outcome.FAULT;
  raise(cpu, flags);
  if (pops) pop(cpu);
  return Outcome.NEXT;
}

/** FIST, FISTP and FISTTP. */
function storeInteger(pops: boolean, truncates: boolean): Body {
  return waiting((cpu, insn) => {
    const bytes = INTEGER_BYTES[memoryType(insn)!]!;
    const empty = isEmpty(cpu, 0);
    const { value, flags } = toInteger(empty ? INDEFINITE : readSt(cpu, 0), 8 * bytes, truncates ? 3 : control(cpu));
    return storeBits(cpu, insn, bytes, { bits: BigInt.asUintN(8 * bytes, value), flags }, empty, pops);
  });
}

/** The constants, to 67 bits or so, as significand and binary exponent of its lowest bit; rounded as RC says. */
const CONSTANTS: Readonly<Record<string, readonly [significand: bigint, exponent: number]>> = {
  FLD1: [1n, 0], FLDL2T: [0x35269e12f346e2bf9n, -64], FLDL2E: [0x171547652b82fe177n, -64], FLDPI: [0xc90fdaa22168c234cn, -66], FLDLG2: [0x4d104d427de7fbcc4n, -68], FLDLN2: [0xb17217f7d1cf79abdn, -68],
};
const constant = (name: string): Body =>
  waiting((cpu) => {
    const [significand, exponent] = CONSTANTS[name]!;
    return push(cpu, { value: round(0, significand, exponent, { precision: 64, control: control(cpu), masks: 0x3f }).value, flags: 0 });
  });

/** FCMOVcc. */
const conditionalMove = (holds: (flags: number) => boolean): Body =>
  waiting((cpu, insn) => {
    const i = insn.rm & 7;
    if (isEmpty(cpu, 0) || isEmpty(cpu, i)) {
      if (!stackFault(cpu, false)) writeSt(cpu, 0, INDEFINITE);
    } else if (holds(cpu.readRflags())) writeSt(cpu, 0, readSt(cpu, i));
    return Outcome.NEXT;
  });
const CF = 1;
const PF = 4;
const ZF = 64;
const any = (mask: number) => (flags: number): boolean => (flags & mask) !== 0;
const none = (mask: number) => (flags: number): boolean => (flags & mask) === 0;

/** FSCALE: ST(0) × 2^trunc(ST(1)). */
function scale(cpu: Vcpu, a: Float80, b: Float80): Result {
  const special = specialOperands(a, b);
  if (special) return special;
  const de = isDenormal(a) || isDenormal(b) ? Flag.DE : 0;
  if (isInfinite(b)) {
    if (b.sign === 0) return isZero(a) ? { value: INDEFINITE, flags: Flag.IE } : { value: infinity(a.sign), flags: de };
    return isInfinite(a) ? { value: INDEFINITE, flags: Flag.IE } : { value: zero(a.sign), flags: de };
  }
  if (isZero(a) || isInfinite(a)) return { value: a, flags: de };
  const wide = exponentOf(b) > 0 ? 0x10000n : toInteger(b, 64, 3).value;
  const n = Number(exponentOf(b) > 0 && b.sign === 1 ? -wide : wide < -0x10000n ? -0x10000n : wide > 0x10000n ? 0x10000n : wide);
  const result = round(a.sign, a.significand, exponentOf(a) + n, { ...rounding(cpu), precision: 64 });
  return { value: result.value, flags: result.flags | de };
}

/** FPREM (toward zero) and FPREM1 (to nearest): at most 63 quotient bits at a time. */
function remainder(nearest: boolean): Body {
  return waiting((cpu) => {
    if (isEmpty(cpu, 0) || isEmpty(cpu, 1)) {
      if (!stackFault(cpu, false)) writeSt(cpu, 0, INDEFINITE);
      return Outcome.NEXT;
    }
    const [a, b] = [readSt(cpu, 0), readSt(cpu, 1)];
    const special = specialOperands(a, b) ?? (isInfinite(a) || isZero(b) ? { value: INDEFINITE, flags: Flag.IE } : null);
    const { w } = cpu;
    if (special || isInfinite(b) || isZero(a)) {
      w[FSW] = w[FSW]! & ~(C0 | C1 | C2 | C3);
      if (!raise(cpu, special?.flags ?? 0)) writeSt(cpu, 0, special?.value ?? a);
      return Outcome.NEXT;
    }
    const distance = exponentOf(a) - exponentOf(b);
    const partial = distance >= 64;
    const step = partial ? distance - 63 : 0;
    const exponent = Math.min(exponentOf(a) - step, exponentOf(b));
    const dividend = a.significand << BigInt(exponentOf(a) - step - exponent);
    const divisor = b.significand << BigInt(exponentOf(b) - exponent);
    let quotient = dividend / divisor;
    let rest = dividend - quotient * divisor;
    if (nearest && !partial && (2n * rest > divisor || (2n * rest === divisor && (quotient & 1n) === 1n))) {
      quotient += 1n;
      rest -= divisor;
    }
    const sign = (rest < 0n ? 1 - a.sign : a.sign) as 0 | 1;
    const value = rest === 0n ? zero(a.sign) : round(sign, rest < 0n ? -rest : rest, exponent + step, { precision: 64, control: 0, masks: 0x3f }).value;
    const q = Number(quotient & 7n);
    if (raise(cpu, isDenormal(a) || isDenormal(b) ? Flag.DE : 0)) return Outcome.NEXT;
    const codes = partial ? C2 : ((q & 4) !== 0 ? C0 : 0) | ((q & 2) !== 0 ? C3 : 0) | ((q & 1) !== 0 ? C1 : 0);
    w[FSW] = (w[FSW]! & ~(C0 | C1 | C2 | C3)) | codes;
    writeSt(cpu, 0, value);
    return Outcome.NEXT;
  });
}

const FXTRACT: Body = waiting((cpu) => {
  if (isEmpty(cpu, 0)) {
    if (!stackFault(cpu, false)) writeSt(cpu, 0, INDEFINITE);
    return Outcome.NEXT;
  }
  const a = readSt(cpu, 0);
  const special = specialOperands(a, a);
  const flags = special?.flags ?? (isZero(a) ? Flag.ZE : isDenormal(a) ? Flag.DE : 0);
  if (raise(cpu, flags)) return Outcome.NEXT;
  const exponent = special ? special.value : isZero(a) ? infinity(1) : isInfinite(a) ? infinity(0) : fromInteger(BigInt(exponentOf(a) + a.significand.toString(2).length - 1));
  const significand = special ? special.value : isZero(a) || isInfinite(a) ? a : { sign: a.sign, exponent: 0x3fff, significand: a.significand << BigInt(64 - a.significand.toString(2).length) };
  writeSt(cpu, 0, exponent);
  return push(cpu, { value: significand, flags: 0 });
});

const FXAM: Body = waiting((cpu) => {
  const f = readSt(cpu, 0);
  const kind = isEmpty(cpu, 0) ? C3 | C0 : isUnsupported(f) ? 0 : isNan(f) ? C0 : isInfinite(f) ? C2 | C0 : isZero(f) ? C3 : isDenormal(f) ? C3 | C2 : C2;
  cpu.w[FSW] = (cpu.w[FSW]! & ~(C0 | C1 | C2 | C3)) | kind | (f.sign === 1 ? C1 : 0);
  return Outcome.NEXT;
});

const FXCH: Body = waiting((cpu, insn) => {
  const i = insn.rm & 7;
  const empty = [0, i].filter((n) => isEmpty(cpu, n));
  if (empty.length > 0) {
    if (stackFault(cpu, false)) return Outcome.NEXT;
    for (const n of empty) writeSt(cpu, n, INDEFINITE);
  } else cpu.w[FSW] = cpu.w[FSW]! & ~C1;
  const [a, b] = [readSt(cpu, 0), readSt(cpu, i)];
  writeSt(cpu, 0, b);
  writeSt(cpu, i, a);
  return Outcome.NEXT;
});

const turn = (by: number): Body =>
  waiting((cpu) => {
    cpu.w[FTOP] = (cpu.w[FTOP]! + by) & 7;
    cpu.w[FSW] = cpu.w[FSW]! & ~C1;
    return Outcome.NEXT;
  });

/** The environment as FNSTENV and FNSAVE write it (SDM Vol. 1, "Protected Mode x87 FPU State Image in Memory"): 14 or 28 bytes. */
function environment(cpu: Vcpu, wide: boolean): bigint {
  const { w } = cpu;
  let tags = 0;
  for (let n = 0; n < 8; n++) {
    const f = readSt(cpu, (n - w[FTOP]!) & 7);
    const tag = ((w[FTAG]! >>> n) & 1) === 0 ? 3 : isZero(f) ? 1 : f.exponent === 0x7fff || isDenormal(f) || isUnsupported(f) ? 2 : 0;
    tags |= tag << (2 * n);
  }
  const status = (w[FSW]! & ~0x3800) | (w[FTOP]! << 11);
  const fields = wide
    ? [w[FCW]! | 0xffff0000, status | 0xffff0000, tags | 0xffff0000, w[FIP]!, (w[FCS]! & 0xffff) | ((w[FOP]! & 0x7ff) << 16), w[FDP]!, (w[FDS]! & 0xffff) | 0xffff0000]
    : [w[FCW]!, status, tags, w[FIP]!, w[FCS]!, w[FDP]!, w[FDS]!];
  const bits = wide ? 32 : 16;
  return fields.reduceRight((sum, field) => (sum << BigInt(bits)) | BigInt.asUintN(bits, BigInt(field)), 0n);
}

function loadEnvironment(cpu: Vcpu, image: bigint, wide: boolean): void {
  const { w } = cpu;
  const field = (n: number): number => Number((image >> BigInt((wide ? 32 : 16) * n)) & (wide ? 0xffffffffn : 0xffffn));
  w[FCW] = (field(0) & 0x1f7f) | 0x40;
  const status = field(1);
  w[FTOP] = (status >>> 11) & 7;
  w[FSW] = (status & 0x477f) | ((status & ~w[FCW]! & 0x3f) !== 0 ? ES_B : 0);
  w[FTAG] = 0;
  for (let n = 0; n < 8; n++) if (((field(2) >>> (2 * n)) & 3) !== 3) w[FTAG] = w[FTAG]! | (1 << n);
  w[FIP] = field(3);
  w[FIP + 1] = 0;
  w[FCS] = field(4) & 0xffff;
  w[FOP] = wide ? (field(4) >>> 16) & 0x7ff : 0;
  w[FDP] = field(5);
  w[FDP + 1] = 0;
  w[FDS] = field(6) & 0xffff;
}

const isWide = (insn: Readonly<Instruction>): boolean => insn.operandSize !== 16;
const envBytes = (wide: boolean): number => (wide ? 28 : 14);

function initialize(cpu: Vcpu): void {
  const { w } = cpu;
  w[FCW] = 0x37f;
  for (const at of [FSW, FTOP, FTAG, FOP, FCS, FDS, FIP, FIP + 1, FDP, FDP + 1]) w[at] = 0;
}

const FNSTENV: Body = (cpu, insn) => {
  const wide = isWide(insn);
  const keep = { fdp: cpu.w[FDP]!, high: cpu.w[FDP + 1]!, fds: cpu.w[FDS]! };
  const image = environment(cpu, wide);
  const done = writeMemory(cpu, insn, envBytes(wide), image);
  Object.assign(cpu.w, { [FDP]: keep.fdp, [FDP + 1]: keep.high, [FDS]: keep.fds });
  if (!done) return Outcome.FAULT;
  cpu.w[FCW] = cpu.w[FCW]! | 0x3f;
  cpu.w[FSW] = cpu.w[FSW]! & ~ES_B;
  return Outcome.NEXT;
};

const FLDENV: Body = waiting((cpu, insn) => {
  const wide = isWide(insn);
  const image = readMemory(cpu, insn, envBytes(wide));
  if (image === null) return Outcome.FAULT;
  loadEnvironment(cpu, image, wide);
  return Outcome.NEXT;
}, true);

const FNSAVE: Body = (cpu, insn) => {
  const wide = isWide(insn);
  let image = environment(cpu, wide);
  for (let i = 0; i < 8; i++) {
    const f = readSt(cpu, i);
    image |= ((BigInt((f.sign << 15) | f.exponent) << 64n) | f.significand) << BigInt(8 * (envBytes(wide) + 10 * i));
  }
  if (!writeMemory(cpu, insn, envBytes(wide) + 80, image)) return Outcome.FAULT;
  initialize(cpu);
  return Outcome.NEXT;
};

const FRSTOR: Body = waiting((cpu, insn) => {
  const wide = isWide(insn);
  const image = readMemory(cpu, insn, envBytes(wide) + 80);
  if (image === null) return Outcome.FAULT;
  loadEnvironment(cpu, image, wide);
  const tags = cpu.w[FTAG]!;
  for (let i = 0; i < 8; i++) {
    const bits = image >> BigInt(8 * (envBytes(wide) + 10 * i));
    writeSt(cpu, i, { sign: Number((bits >> 79n) & 1n) as 0 | 1, exponent: Number((bits >> 64n) & 0x7fffn), significand: BigInt.asUintN(64, bits) });
  }
  cpu.w[FTAG] = tags;
  return Outcome.NEXT;
}, true);

/** Packed decimal: 18 digits and a sign. */
const FBLD: Body = waiting((cpu, insn) => {
  const bits = readMemory(cpu, insn, 10);
  if (bits === null) return Outcome.FAULT;
  let value = 0n;
  for (let i = 17; i >= 0; i--) value = value * 10n + ((bits >> BigInt(4 * i)) & 15n);
  const f = fromInteger(value);
  return push(cpu, { value: { ...f, sign: Number((bits >> 79n) & 1n) as 0 | 1 }, flags: 0 });
});

const FBSTP: Body = waiting((cpu, insn) => {
  const empty = isEmpty(cpu, 0);
  const f = empty ? INDEFINITE : readSt(cpu, 0);
  const whole = toInteger(f, 64, control(cpu));
  const magnitude = whole.value < 0n ? -whole.value : whole.value;
  const bad = (whole.flags & Flag.IE) !== 0 || magnitude >= 10n ** 18n;
  let bits = BigInt(f.sign) << 79n;
  let rest = magnitude;
  for (let i = 0; i < 18; i++) {
    bits |= (rest % 10n) << BigInt(4 * i);
    rest /= 10n;
  }
  return storeBits(cpu, insn, 10, bad ? { bits: 0xffffc000000000000000n, flags: Flag.IE } : { bits, flags: whole.flags }, empty, true);
});

const done: Body = () => Outcome.NEXT;

/** x87 instructions in plain TypeScript, by mnemonic. The transcendental ones are not among them. */
export const X87_INSTRUCTIONS: Readonly<Record<string, Body>> = {
  FADD: arithmetic(add, false, false), FADDP: arithmetic(add, false, true), FIADD: arithmetic(add, false, false),
  FMUL: arithmetic(multiply, false, false), FMULP: arithmetic(multiply, false, true), FIMUL: arithmetic(multiply, false, false),
  FSUB: arithmetic(subtract, false, false), FSUBP: arithmetic(subtract, false, true), FISUB: arithmetic(subtract, false, false),
  FSUBR: arithmetic(subtract, true, false), FSUBRP: arithmetic(subtract, true, true), FISUBR: arithmetic(subtract, true, false),
  FDIV: arithmetic(divide, false, false), FDIVP: arithmetic(divide, false, true), FIDIV: arithmetic(divide, false, false),
  FDIVR: arithmetic(divide, true, false), FDIVRP: arithmetic(divide, true, true), FIDIVR: arithmetic(divide, true, false),
  FCOM: comparison({}), FCOMP: comparison({ pops: 1 }), FCOMPP: comparison({ pops: 2, second: true }), FICOM: comparison({}), FICOMP: comparison({ pops: 1 }),
  FUCOM: comparison({ quiet: true }), FUCOMP: comparison({ quiet: true, pops: 1 }), FUCOMPP: comparison({ quiet: true, pops: 2, second: true }),
  FCOMI: comparison({ eflags: true }), FCOMIP: comparison({ eflags: true, pops: 1 }), FUCOMI: comparison({ quiet: true, eflags: true }), FUCOMIP: comparison({ quiet: true, eflags: true, pops: 1 }),
  FTST: comparison({ zero: true }), FXAM, FXCH, FXTRACT,
  FLD: waiting((cpu, insn) => {
    if (insn.mod !== 3) {
      const source = readSource(cpu, insn);
      return source === null ? Outcome.FAULT : push(cpu, source);
    }
    const i = insn.rm & 7;
    if (!isEmpty(cpu, i)) return push(cpu, { value: readSt(cpu, i), flags: 0 });
    if (stackFault(cpu, false)) return Outcome.NEXT;
    cpu.w[FTOP] = (cpu.w[FTOP]! + 7) & 7;
    writeSt(cpu, 0, INDEFINITE);
    return Outcome.NEXT;
  }),
  FILD: waiting((cpu, insn) => {
    const source = readSource(cpu, insn);
    return source === null ? Outcome.FAULT : push(cpu, source);
  }),
  FST: store(false), FSTP: store(true), FSTPNCE: store(true), FIST: storeInteger(false, false), FISTP: storeInteger(true, false), FISTTP: storeInteger(true, true), FBLD, FBSTP,
  FLDZ: waiting((cpu) => push(cpu, { value: zero(0), flags: 0 })),
  ...Object.fromEntries(Object.keys(CONSTANTS).map((name) => [name, constant(name)])),
  FCHS: unary((a) => ({ value: { ...a, sign: a.sign === 0 ? 1 : 0 }, flags: 0 })),
  FABS: unary((a) => ({ value: { ...a, sign: 0 }, flags: 0 })),
  FSQRT: unary((a, cpu) => squareRoot(a, rounding(cpu))),
  FRNDINT: unary((a, cpu) => toIntegral(a, control(cpu))),
  FSCALE: waiting((cpu) => {
    if (isEmpty(cpu, 0) || isEmpty(cpu, 1)) {
      if (!stackFault(cpu, false)) writeSt(cpu, 0, INDEFINITE);
      return Outcome.NEXT;
    }
    const result = scale(cpu, readSt(cpu, 0), readSt(cpu, 1));
    if (!raise(cpu, result.flags)) writeSt(cpu, 0, result.value);
    return Outcome.NEXT;
  }),
  FPREM: remainder(false), FPREM1: remainder(true), FDECSTP: turn(7), FINCSTP: turn(1),
  FFREE: waiting((cpu, insn) => {
    cpu.w[FTAG] = cpu.w[FTAG]! & ~(1 << physical(cpu, insn.rm & 7));
    return Outcome.NEXT;
  }),
  FFREEP: waiting((cpu, insn) => {
    cpu.w[FTAG] = cpu.w[FTAG]! & ~(1 << physical(cpu, insn.rm & 7));
    pop(cpu);
    return Outcome.NEXT;
  }),
  FCMOVB: conditionalMove(any(CF)), FCMOVE: conditionalMove(any(ZF)), FCMOVBE: conditionalMove(any(CF | ZF)), FCMOVU: conditionalMove(any(PF)),
  FCMOVNB: conditionalMove(none(CF)), FCMOVNE: conditionalMove(none(ZF)), FCMOVNBE: conditionalMove(none(CF | ZF)), FCMOVNU: conditionalMove(none(PF)),
  FNSTENV, FLDENV, FNSAVE, FRSTOR, FNOP: waiting(done), FWAIT: waiting(done, true), FNENI: done, FNDISI: done, FNSETPM: done,
};
