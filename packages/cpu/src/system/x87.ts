
import { Outcome } from '../outcome.js';
import type { Vcpu } from '../vcpu.js';

import {
  add,
  compare,
  DOUBLE,
  divide,
  exponentOf,
  Flag,
  type Float80,
  fromInteger,
  INDEFINITE,
  infinity,
  isDenormal,
  isInfinite,
  isNan,
  isSignaling,
  isUnsupported,
  isZero,
  multiply,
  narrow,
  type Result,
  type Rounding,
  round,
  SINGLE,
  specialOperands,
  squareRoot,
  subtract,
  toInteger,
  toIntegral,
  zero,
} from '../x87/float80.js';

import {
  type Body,
  C0,
  C1,
  C2,
  C3,
  control,
  FSW,
  FTAG,
  FTOP,
  INTEGER_BYTES,
  isEmpty,
  memoryType,
  physical,
  pop,
  push,
  raise,
  readSource,
  readSt,
  rounding,
  stackFault,
  storeBits,
  waiting,
  writeSt,
} from './x87-stack.js';
import { FBLD, FBSTP, FLDENV, FNSAVE, FNSTENV, FRSTOR } from './x87-state.js';

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
    const flags = empty
      ? Flag.IE | Flag.SF
      : (source?.flags ?? 0) | (bad ? Flag.IE : 0) | (order !== 2 && (isDenormal(a) || isDenormal(b)) ? Flag.DE : 0);
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
    const result =
      type === 'ft'
        ? { bits: (BigInt((value.sign << 15) | value.exponent) << 64n) | value.significand, flags: 0 }
        : narrow(value, format, control(cpu));
    return storeBits(cpu, insn, type === 'fs' ? 4 : type === 'fd' ? 8 : 10, result, empty, pops);
  });
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
  FLD1: [1n, 0],
  FLDL2T: [0x35269e12f346e2bf9n, -64],
  FLDL2E: [0x171547652b82fe177n, -64],
  FLDPI: [0xc90fdaa22168c234cn, -66],
  FLDLG2: [0x4d104d427de7fbcc4n, -68],
  FLDLN2: [0xb17217f7d1cf79abdn, -68],
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
const any =
  (mask: number) =>
  (flags: number): boolean =>
    (flags & mask) !== 0;
const none =
  (mask: number) =>
  (flags: number): boolean =>
    (flags & mask) === 0;

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
    const value =
      rest === 0n ? zero(a.sign) : round(sign, rest < 0n ? -rest : rest, exponent + step, { precision: 64, control: 0, masks: 0x3f }).value;
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
  const exponent = special
    ? special.value
    : isZero(a)
      ? infinity(1)
      : isInfinite(a)
        ? infinity(0)
        : fromInteger(BigInt(exponentOf(a) + a.significand.toString(2).length - 1));
  const significand = special
    ? special.value
    : isZero(a) || isInfinite(a)
      ? a
      : { sign: a.sign, exponent: 0x3fff, significand: a.significand << BigInt(64 - a.significand.toString(2).length) };
  writeSt(cpu, 0, exponent);
  return push(cpu, { value: significand, flags: 0 });
});

const FXAM: Body = waiting((cpu) => {
  const f = readSt(cpu, 0);
  const kind = isEmpty(cpu, 0)
    ? C3 | C0
    : isUnsupported(f)
      ? 0
      : isNan(f)
        ? C0
        : isInfinite(f)
          ? C2 | C0
          : isZero(f)
            ? C3
            : isDenormal(f)
              ? C3 | C2
              : C2;
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

const done: Body = () => Outcome.NEXT;

/** x87 instructions in plain TypeScript, by mnemonic. The transcendental ones are not among them. */
export const X87_INSTRUCTIONS: Readonly<Record<string, Body>> = {
  FADD: arithmetic(add, false, false),
  FADDP: arithmetic(add, false, true),
  FIADD: arithmetic(add, false, false),
  FMUL: arithmetic(multiply, false, false),
  FMULP: arithmetic(multiply, false, true),
  FIMUL: arithmetic(multiply, false, false),
  FSUB: arithmetic(subtract, false, false),
  FSUBP: arithmetic(subtract, false, true),
  FISUB: arithmetic(subtract, false, false),
  FSUBR: arithmetic(subtract, true, false),
  FSUBRP: arithmetic(subtract, true, true),
  FISUBR: arithmetic(subtract, true, false),
  FDIV: arithmetic(divide, false, false),
  FDIVP: arithmetic(divide, false, true),
  FIDIV: arithmetic(divide, false, false),
  FDIVR: arithmetic(divide, true, false),
  FDIVRP: arithmetic(divide, true, true),
  FIDIVR: arithmetic(divide, true, false),
  FCOM: comparison({}),
  FCOMP: comparison({ pops: 1 }),
  FCOMPP: comparison({ pops: 2, second: true }),
  FICOM: comparison({}),
  FICOMP: comparison({ pops: 1 }),
  FUCOM: comparison({ quiet: true }),
  FUCOMP: comparison({ quiet: true, pops: 1 }),
  FUCOMPP: comparison({ quiet: true, pops: 2, second: true }),
  FCOMI: comparison({ eflags: true }),
  FCOMIP: comparison({ eflags: true, pops: 1 }),
  FUCOMI: comparison({ quiet: true, eflags: true }),
  FUCOMIP: comparison({ quiet: true, eflags: true, pops: 1 }),
  FTST: comparison({ zero: true }),
  FXAM,
  FXCH,
  FXTRACT,
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
  FST: store(false),
  FSTP: store(true),
  FSTPNCE: store(true),
  FIST: storeInteger(false, false),
  FISTP: storeInteger(true, false),
  FISTTP: storeInteger(true, true),
  FBLD,
  FBSTP,
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
  FPREM: remainder(false),
  FPREM1: remainder(true),
  FDECSTP: turn(7),
  FINCSTP: turn(1),
  FFREE: waiting((cpu, insn) => {
    cpu.w[FTAG] = cpu.w[FTAG]! & ~(1 << physical(cpu, insn.rm & 7));
    return Outcome.NEXT;
  }),
  FFREEP: waiting((cpu, insn) => {
    cpu.w[FTAG] = cpu.w[FTAG]! & ~(1 << physical(cpu, insn.rm & 7));
    pop(cpu);
    return Outcome.NEXT;
  }),
  FCMOVB: conditionalMove(any(CF)),
  FCMOVE: conditionalMove(any(ZF)),
  FCMOVBE: conditionalMove(any(CF | ZF)),
  FCMOVU: conditionalMove(any(PF)),
  FCMOVNB: conditionalMove(none(CF)),
  FCMOVNE: conditionalMove(none(ZF)),
  FCMOVNBE: conditionalMove(none(CF | ZF)),
  FCMOVNU: conditionalMove(none(PF)),
  FNSTENV,
  FLDENV,
  FNSAVE,
  FRSTOR,
  FNOP: waiting(done),
  FWAIT: waiting(done, true),
  FNENI: done,
  FNDISI: done,
  FNSETPM: done,
};
