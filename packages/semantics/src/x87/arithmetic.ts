import { defineFunction } from '@nestvm/emit';
import { vcpuState } from '@nestvm/isa';
import {
  addWide,
  leadingZerosWide,
  lessWide,
  multiplyWide,
  selectWide,
  shiftLeftWide,
  shiftRightJamWide,
  subtractWide,
  type Wide,
} from '../float/wide.js';
import { At, BIAS, type Extended, Fpu, helper, type I, KindOf, propagate, type Q, Status } from './fpu.js';
import { precisionControl, returnRounded } from './round.js';

const { offset } = vcpuState;
const OPERATION = {
  params: ['i32' as const, 'i64' as const, 'i32' as const, 'i32' as const, 'i64' as const, 'i32' as const, 'i32' as const],
  results: [],
};

/** An operation on two numbers: (cpu, a, b as significand, sign and exponent, kind) → result in the scratch; exceptions are collected. */
const operation = (name: string, body: (f: Fpu, a: Extended, b: Extended) => void) =>
  defineFunction(`x87.${name}`, OPERATION, (code) => {
    const f = new Fpu(code, code.param(0, 32));
    const [a, b] = [1, 4].map((p) => ({ significand: code.param(p, 64), se: code.param(p + 1, 32), kind: code.param(p + 2, 32) })) as [
      Extended,
      Extended,
    ];
    propagate(f, a, b);
    body(f, a, b);
  });

/** A 128-bit number with its leading bit wherever it is, rounded under precision control. */
function returnNormalized(f: Fpu, sign: I, exponent: I, wide: Wide): void {
  const zeros = leadingZerosWide(wide).trunc(32);
  returnRounded(f, sign, exponent.sub(zeros), shiftLeftWide(wide, zeros), precisionControl(f));
}

const ADD = operation('add', (f, a, b) => {
  const { code } = f;
  const [signA, signB] = [f.sign(a.se), f.sign(b.se)];
  const differ = signA.xor(signB);
  const [infA, infB] = [f.isKind(a, KindOf.INFINITE), f.isKind(b, KindOf.INFINITE)];
  f.invalidIf(infA.and(infB).and(differ));
  f.noteDenormal(a, b);
  code.if(infA.or(infB), () => {
    f.infinity(code.select(infA, signA, signB));
    code.return();
  });
  const down = f.rounding.eq(1);
  const [zeroA, zeroB] = [a.kind.isZero(), b.kind.isZero()];
  code.if(zeroA.and(zeroB), () => {
    f.zero(code.select(differ, down, signA));
    code.return();
  });
  const [ua, ub] = [f.unpack(a), f.unpack(b)];
  const [ea, eb] = [code.select(zeroA, f.i(-200000), ua.exponent), code.select(zeroB, f.i(-200000), ub.exponent)];
  const wideOf = (q: Q): Wide => ({ high: q.shrU(1), low: q.shl(63) });
  const swap = ea.ltS(eb).or(ea.eq(eb).and(ua.significand.ltU(ub.significand)));
  const exponent = code.select(swap, eb, ea);
  const big = wideOf(code.select(swap, ub.significand, ua.significand));
  const small = shiftRightJamWide(wideOf(code.select(swap, ua.significand, ub.significand)), exponent.sub(code.select(swap, ea, eb)));
  const total = selectWide(differ, subtractWide(big, small), addWide(big, small));
  code.if(total.high.or(total.low).isZero(), () => {
    f.zero(down);
    code.return();
  });
  returnNormalized(f, code.select(swap, signB, signA), exponent.add(1), total);
});

const MULTIPLY = operation('mul', (f, a, b) => {
  const { code } = f;
  const sign = f.sign(a.se).xor(f.sign(b.se));
  const infinite = f.isKind(a, KindOf.INFINITE).or(f.isKind(b, KindOf.INFINITE));
  const zero = a.kind.isZero().or(b.kind.isZero());
  f.invalidIf(infinite.and(zero));
  f.noteDenormal(a, b);
  code.if(infinite, () => {
    f.infinity(sign);
    code.return();
  });
  code.if(zero, () => {
    f.zero(sign);
    code.return();
  });
  const [ua, ub] = [f.unpack(a), f.unpack(b)];
  returnNormalized(f, sign, ua.exponent.add(ub.exponent).sub(BIAS - 1), multiplyWide(ua.significand, ub.significand));
});

/** One 32-bit digit of a quotient: (remainder, divisor with bit 63 set) → floor(remainder × 2^32 / divisor), remainder below the divisor (Knuth, algorithm D). */
const DIGIT = defineFunction('x87.digit', { params: ['i64', 'i64'], results: ['i64'] }, (code) => {
  const [rest, divisor] = [code.param(0, 64), code.param(1, 64)];
  const [top, bottom] = [divisor.shrU(32), divisor.and(0xffffffffn)];
  const digit = code.variable(rest.divU(top));
  const left = code.variable(rest.sub(digit.get().mul(top)));
  code.block((leave) =>
    code.loop((again) => {
      const fits = digit
        .get()
        .leU(0xffffffffn)
        .and(digit.get().mul(bottom).leU(left.get().shl(32)));
      leave(fits);
      digit.set(digit.get().sub(1));
      left.set(left.get().add(top));
      again(left.get().leU(0xffffffffn));
    }),
  );
  code.return(digit.get());
});

/** floor(rest × 2^64 / divisor) and the new remainder; rest < divisor, bit 63 of the divisor set. */
function divide64(f: Fpu, rest: Q, divisor: Q): { quotient: Q; rest: Q } {
  const { code } = f;
  const one = code.call(DIGIT, 64, rest, divisor);
  const middle = rest.shl(32).sub(one.mul(divisor));
  const two = code.call(DIGIT, 64, middle, divisor);
  return { quotient: one.shl(32).or(two), rest: middle.shl(32).sub(two.mul(divisor)) };
}

/** The quotient of two significands with bit 63 set, as one with bit 127 set whose lowest bit stands for all below; `less`: it has been doubled, since the dividend is less. */
export function quotient(f: Fpu, dividend: Q, divisor: Q): { wide: Wide; less: I } {
  const { code } = f;
  const less = dividend.ltU(divisor);
  // The dividend is below the divisor: halved when it was not, with its lowest bit going into the second digit pair.
  const odd = dividend.and(1).and(code.select(less, f.q(0), f.q(1)));
  const first = divide64(f, code.select(less, dividend, dividend.shrU(1)), divisor);
  // Half a unit of the halved dividend is 2^63 in the low word: it adds to the remainder.
  const raised = first.rest.add(odd.shl(63));
  const over = odd.isNonzero().and(raised.ltU(first.rest).or(raised.geU(divisor)));
  const second = divide64(f, code.select(over, raised.sub(divisor), raised), divisor);
  const low = second.quotient.or(second.rest.isNonzero().zext(64));
  return { wide: { high: first.quotient.add(over.zext(64)), low }, less };
}

const DIVIDE = operation('div', (f, a, b) => {
  const { code } = f;
  const sign = f.sign(a.se).xor(f.sign(b.se));
  const [infA, infB] = [f.isKind(a, KindOf.INFINITE), f.isKind(b, KindOf.INFINITE)];
  f.invalidIf(infA.and(infB).or(a.kind.or(b.kind).isZero()));
  code.if(b.kind.isZero().and(infA.isZero()), () => {
    f.raise(Status.ZERO);
    f.infinity(sign);
    code.return();
  });
  f.noteDenormal(a, b);
  code.if(infA, () => {
    f.infinity(sign);
    code.return();
  });
  code.if(infB.or(a.kind.isZero()), () => {
    f.zero(sign);
    code.return();
  });
  const [ua, ub] = [f.unpack(a), f.unpack(b)];
  const { wide, less } = quotient(f, ua.significand, ub.significand);
  returnRounded(f, sign, ua.exponent.sub(ub.exponent).add(BIAS).sub(less), wide, precisionControl(f));
});

/** Square root of ST(0) into the result: (cpu). */
export const SQUARE_ROOT = helper('sqrt', 0, (f) => {
  const { code } = f;
  const value = f.st(0);
  f.clearRaised();
  propagate(f, value);
  const keep = (): void => {
    f.result(value.significand, value.se);
    code.return();
  };
  code.if(value.kind.isZero(), keep);
  f.invalidIf(f.sign(value.se));
  code.if(f.isKind(value, KindOf.INFINITE), keep);
  f.noteDenormal(value);
  const { exponent, significand } = f.unpack(value);
  const unbiased = exponent.sub(BIAS);
  const odd = unbiased.and(1);
  // Radicand in [2^126, 2^128), so that the root has its leading bit at 63.
  const radicand: Wide = { high: code.select(odd, significand, significand.shrU(1)), low: code.select(odd, f.q(0), significand.shl(63)) };
  const real = code.op('f64.sqrt', 'f64', code.op('f64.convert_i64_u', 'f64', radicand.high));
  const guess = code.op('i64.trunc_sat_f64_u', 64, code.op('f64.mul', 'f64', real, code.constant('f64', 2 ** 32)));
  const root = code.variable(guess);
  const square = multiplyWide(guess, guess);
  const below = lessWide(radicand, square);
  const gap = selectWide(below, subtractWide(square, radicand), subtractWide(radicand, square));
  // One Newton step, then by ones: gap / (2 × root), with gap far below root × 2^64.
  // The low word of the gap moves the quotient by two at most.
  const step = divide64(f, gap.high.shrU(1), guess).quotient;
  const moved = guess.add(code.select(below, step.neg(), step));
  root.set(code.select(step.isNonzero().and(moved.geS(0)), f.q(-1), moved));
  const left = (): Wide => subtractWide(radicand, multiplyWide(root.get(), root.get()));
  code.while(
    () => left().high.ltS(0).and(left().high.geS(-16)),
    () => root.set(root.get().sub(1)),
  );
  const twice = (): Wide => ({ high: root.get().shrU(63), low: root.get().shl(1) });
  code.while(
    () => lessWide(twice(), left()),
    () => root.set(root.get().add(1)),
  );
  const rest = left();
  const more = rest.high.isNonzero().or(rest.low.gtU(root.get()));
  const low = code.select(rest.high.or(rest.low).isZero(), f.q(0), code.select(more, f.q(3n << 62n), f.q(1n << 62n)));
  returnRounded(f, f.i(0), unbiased.sub(odd).shrS(1).add(BIAS), { high: root.get(), low }, precisionControl(f));
});

/** Arithmetic of an instruction by ModRM.reg: (cpu, operation 0 add, 1 mul, 4 sub, 5 subr, 6 div, 7 divr; i; pops): ST(i) ← ST(i) op source operand. */
export const ARITHMETIC = helper('arithmetic', 3, (f, which, index, pops) => {
  const { code, cpu } = f;
  const [a, b] = [f.st(index), f.source()];
  f.clearRaised();
  const args = (p: Extended, q: Extended) => [cpu, p.significand, p.se, p.kind, q.significand, q.se, q.kind] as const;
  const flip = (v: Extended): Extended => ({ ...v, se: code.select(v.kind.geU(KindOf.QUIET), v.se, v.se.xor(0x8000)) });
  code.if(which.isZero(), () => code.run(ADD, ...args(a, b)));
  code.if(which.eq(1), () => code.run(MULTIPLY, ...args(a, b)));
  code.if(which.eq(4), () => code.run(ADD, ...args(a, flip(b))));
  code.if(which.eq(5), () => code.run(ADD, ...args(flip(a), b)));
  code.if(which.eq(6), () => code.run(DIVIDE, ...args(a, b)));
  code.if(which.eq(7), () => code.run(DIVIDE, ...args(b, a)));
  code.run(FINISH, cpu, index, pops);
});

/** Delivers the collected exceptions: sets the status word, ES and B too; C1 is as collected. */
export function recordExceptions(f: Fpu, flags: I, unmasked: I): void {
  const rest = f.status.and(~Status.C1);
  f.set(offset.fsw, rest.or(flags).or(f.code.select(unmasked, f.i(Status.ES | Status.BUSY), f.i(0))));
}

/** Ends an instruction without a register result: (cpu, pops, which unmasked exceptions keep it from being done) . */
export const COMPLETE = helper('complete', 2, (f, pops, stopping) => {
  const { code } = f;
  const [flags, unmasked] = [f.get(At.RAISED), f.unmasked()];
  recordExceptions(f, flags, unmasked);
  code.if(unmasked.and(stopping).isZero(), () => f.pop(pops));
});

/** Ends an instruction with a register result: (cpu, i, pops): ST(i) ← result unless an operand exception is unmasked. */
export const FINISH = helper('finish', 2, (f, index, pops) => {
  const { code } = f;
  const [flags, unmasked] = [f.get(At.RAISED), f.unmasked()];
  code.if(unmasked.and(7).isNonzero(), () => {
    recordExceptions(f, flags.and(Status.STACK | 7), unmasked);
    code.return();
  });
  recordExceptions(f, flags, unmasked);
  f.writeRegister(f.physical(index), f.get64(At.RESULT), f.get(At.RESULT_SE));
  f.pop(pops);
});

/** Pushes the source operand: (cpu, flags raised with it). */
export const PUSH = helper('push', 1, (f, flags) => {
  const { code } = f;
  const physical = f.physical(7);
  code.if(f.isEmpty(physical).and(flags.isZero()), () => {
    f.set(offset.fsw, f.status.and(~Status.C1));
    f.set(offset.ftop, physical);
    f.writeRegister(physical, f.get64(At.SOURCE), f.get(At.SOURCE_SE));
    code.return();
  });
  f.set(At.RAISED, flags);
  f.result(f.get64(At.SOURCE), f.get(At.SOURCE_SE));
  code.if(f.isEmpty(physical).isZero().and(flags.and(Status.STACK).isZero()), () => {
    f.set(At.RAISED, f.i(Status.OVERFLOW_OF_STACK));
    f.indefinite();
  });
  const unmasked = f.unmasked();
  recordExceptions(f, f.get(At.RAISED), unmasked);
  code.if(unmasked.and(Status.INVALID), () => code.return());
  f.set(offset.ftop, physical);
  f.writeRegister(physical, f.get64(At.RESULT), f.get(At.RESULT_SE));
});

/** ST(i) becomes the source operand: (cpu, i). */
export const SOURCE_ST = helper('source', 1, (f, index) => f.setSource(f.st(index)));
