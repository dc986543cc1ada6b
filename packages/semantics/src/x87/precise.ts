import { defineFunction } from '@nestvm/emit';
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
import { At, BIAS, Fpu, type I, type Q } from './fpu.js';

/** A number with 128 significant bits: (-1)^sign × wide / 2^127 × 2^exponent, bit 127 set. */
export interface Precise {
  readonly sign: I;
  readonly exponent: I;
  readonly wide: Wide;
}

/** High half of the 256-bit product, but for the last unit or two: (cpu, a high, a low, b high, b low) → high; the low half is left in the scratch. */
const MULTIPLY_FRACTIONS = defineFunction('x87.multiplyFractions', { params: ['i32', 'i64', 'i64', 'i64', 'i64'], results: ['i64'] }, (code) => {
  const f = new Fpu(code, code.param(0, 32));
  const [ah, al, bh, bl] = [1, 2, 3, 4].map((p) => code.param(p, 64)) as [Q, Q, Q, Q];
  const zero = f.q(0);
  const cross = addWide({ high: zero, low: multiplyWide(ah, bl).high }, { high: zero, low: multiplyWide(al, bh).high });
  const total = addWide(multiplyWide(ah, bh), cross);
  f.set64(At.LOW, total.low);
  code.return(total.high);
});

/** floor(a × 2^127 / b) of numbers with bit 127 set, as MULTIPLY_FRACTIONS gives it. One bit a turn. */
const DIVIDE_FRACTIONS = defineFunction('x87.divideFractions', { params: ['i32', 'i64', 'i64', 'i64', 'i64'], results: ['i64'] }, (code) => {
  const f = new Fpu(code, code.param(0, 32));
  const divisor: Wide = { high: code.param(3, 64), low: code.param(4, 64) };
  const [high, low] = [code.variable(code.param(1, 64)), code.variable(code.param(2, 64))];
  const [resultHigh, resultLow] = [code.variable(f.q(0)), code.variable(f.q(0))];
  const carry = code.variable(f.i(0));
  const turns = code.variable(f.i(128));
  code.loop((again) => {
    const rest: Wide = { high: high.get(), low: low.get() };
    const fits = carry.get().or(lessWide(rest, divisor).xor(1));
    const left = selectWide(fits, subtractWide(rest, divisor), rest);
    const before: Wide = { high: resultHigh.get(), low: resultLow.get() };
    resultHigh.set(before.high.shl(1).or(before.low.shrU(63)));
    resultLow.set(before.low.shl(1).or(fits.zext(64)));
    carry.set(left.high.shrU(63).trunc(32));
    high.set(left.high.shl(1).or(left.low.shrU(63)));
    low.set(left.low.shl(1));
    turns.set(turns.get().sub(1));
    again(turns.get());
  });
  f.set64(At.LOW, resultLow.get());
  code.return(resultHigh.get());
});

/** Product of two fractions of 2^128. */
function multiplyFractions(f: Fpu, a: Wide, b: Wide): Wide {
  return { high: f.code.call(MULTIPLY_FRACTIONS, 64, f.cpu, a.high, a.low, b.high, b.low), low: f.get64(At.LOW) };
}

const normalize = (sign: I, exponent: I, wide: Wide): Precise => {
  const zeros = leadingZerosWide(wide).trunc(32);
  return { sign, exponent: exponent.sub(zeros), wide: shiftLeftWide(wide, zeros.and(127)) };
};

export const multiply = (f: Fpu, a: Precise, b: Precise): Precise =>
  normalize(a.sign.xor(b.sign), a.exponent.add(b.exponent).add(1), multiplyFractions(f, a.wide, b.wide));

export function divide(f: Fpu, a: Precise, b: Precise): Precise {
  const high = f.code.call(DIVIDE_FRACTIONS, 64, f.cpu, a.wide.high, a.wide.low, b.wide.high, b.wide.low);
  return normalize(a.sign.xor(b.sign), a.exponent.sub(b.exponent), { high, low: f.get64(At.LOW) });
}

/** a + b; an exact zero comes out with significand 0. Operands with significand 0 need a very low exponent. */
export function add(f: Fpu, a: Precise, b: Precise): Precise {
  const { code } = f;
  const swap = a.exponent.ltS(b.exponent).or(a.exponent.eq(b.exponent).and(lessWide(a.wide, b.wide)));
  const exponent = code.select(swap, b.exponent, a.exponent);
  const half = (w: Wide): Wide => ({ high: w.high.shrU(1), low: w.low.shrU(1).or(w.high.shl(63)) });
  const big = half(selectWide(swap, b.wide, a.wide));
  const small = shiftRightJamWide(half(selectWide(swap, a.wide, b.wide)), exponent.sub(code.select(swap, a.exponent, b.exponent)));
  const total = selectWide(a.sign.xor(b.sign), subtractWide(big, small), addWide(big, small));
  return normalize(code.select(swap, b.sign, a.sign), exponent.add(1), total);
}

export const negateIf = (condition: I, a: Precise): Precise => ({ ...a, sign: a.sign.xor(condition) });

export const choose = (f: Fpu, condition: I, a: Precise, b: Precise): Precise => ({
  sign: f.code.select(condition, a.sign, b.sign),
  exponent: f.code.select(condition, a.exponent, b.exponent),
  wide: selectWide(condition, a.wide, b.wide),
});

/** Fixes the parts in locals, so that code written in branches may use them. */
export const fromExtended = (f: Fpu, { sign, exponent, significand }: { sign: I; exponent: I; significand: Q }): Precise => ({
  sign,
  exponent: exponent.sub(BIAS),
  wide: { high: significand, low: f.q(0) },
});

const wideConstant = (f: Fpu, value: bigint): Wide => ({ high: f.q(value >> 64n), low: f.q(value & 0xffffffffffffffffn) });

/** A constant of 128 significant bits. */
export const preciseConstant = (f: Fpu, exponent: number, significand: bigint): Precise => ({
  sign: f.i(0),
  exponent: f.i(exponent),
  wide: wideConstant(f, significand),
});

/** A number below 1 as a fraction of 2^128. */
export const toFraction = (f: Fpu, a: Precise): Wide => shiftRightJamWide(a.wide, f.i(-1).sub(a.exponent));

/** 1 ± u × (c[0] ± u × (c[1] ± …)) as a Precise; the coefficients are 1 / divisors; u is a fraction. `minus` is 1 for alternating signs. */
export function series(f: Fpu, u: Wide, minus: I, divisors: readonly bigint[]): Precise {
  const join = (a: Wide, b: Wide): Wide => selectWide(minus, subtractWide(a, b), addWide(a, b));
  const inverse = (d: bigint): Wide => wideConstant(f, (1n << 128n) / d);
  let sum = inverse(divisors[divisors.length - 1]!);
  for (const d of divisors.slice(0, -1).reverse()) sum = join(inverse(d), multiplyFractions(f, sum, u));
  const tail = multiplyFractions(f, sum, u);
  // What is subtracted is never nothing, so that directed rounding sees it.
  const halved: Wide = { high: tail.high.shrU(1), low: tail.low.shrU(1).or(tail.high.shl(63)).or(minus.zext(64)) };
  return normalize(f.i(0), f.i(0), join(wideConstant(f, 1n << 127n), halved));
}
