import { defineFunction, type FunctionDefinition, type Val } from '@nestvm/emit';
import { DOUBLE, Flag, type Format, HALF, Round, SINGLE, Soft } from './format.js';
import { returnRounded } from './round.js';

type Q = Val<64>;
type I = Val<32>;

/** Conversion between formats: (bits, mxcsr, cpu) → bits. A half-precision result ignores DAZ's flag rules as F16C does. */
const between = (from: Format, to: Format): FunctionDefinition =>
  defineFunction(`${from.name}.to.${to.name}`, { params: ['i64', 'i32', 'i32'], results: ['i64'] }, (code) => {
    const soft = new Soft(code, from, code.param(1, 32), code.param(2, 32));
    const target = new Soft(code, to, soft.control, soft.cpu);
    // Half-precision sources take no part in DAZ and report no denormals.
    const a = from === HALF ? code.param(0, 64) : soft.operand(code.param(0, 64));
    const sign = target.zero(soft.sign(a));
    const fraction = a.and((1n << BigInt(from.fraction)) - 1n);
    const moved = from.fraction > to.fraction ? fraction.shrU(from.fraction - to.fraction) : fraction.shl(to.fraction - from.fraction);
    code.if(soft.isNaN(a), () => {
      soft.raise(soft.isSignaling(a));
      code.return(sign.or(moved).or(target.infinity | target.quietBit));
    });
    code.if(soft.isInfinite(a), () => code.return(sign.or(target.infinity)));
    code.if(soft.isZero(a), () => code.return(sign));
    if (from !== HALF) soft.noteDenormals(a);
    const parts = soft.unpack(a);
    returnRounded(target, { ...parts, exponent: parts.exponent.add(to.bias - from.bias) });
  });

/** A signed 64-bit integer to a format: (integer, mxcsr, cpu) → bits. */
const fromInteger = (to: Format): FunctionDefinition =>
  defineFunction(`i64.to.${to.name}`, { params: ['i64', 'i32', 'i32'], results: ['i64'] }, (code) => {
    const soft = new Soft(code, to, code.param(1, 32), code.param(2, 32));
    const value = code.param(0, 64);
    code.if(value.isZero(), () => code.return(value));
    const negative = value.ltS(0);
    const magnitude = code.select(negative, value.neg(), value);
    const zeros = magnitude.clz().trunc(32);
    // The one magnitude with bit 63 set is a power of two.
    const significand = code.select(zeros.isZero(), magnitude.shrU(1), magnitude.shl(zeros.sub(1)));
    returnRounded(soft, { sign: negative, exponent: code.constant(32, to.bias + 63).sub(zeros), significand });
  });

/** Magnitude rounded to an integer (below 2^63; larger exponents are the caller's), and whether something was lost. */
function integral(soft: Soft, value: Q, mode: I): { magnitude: Q; lost: I; exponent: I } {
  const { code, format } = soft;
  const parts = soft.unpack(value);
  const exponent = parts.exponent.sub(format.bias);
  const shift = code.constant(32, 62).sub(exponent);
  const zero = code.constant(64, 0);
  const far = shift.gtS(63);
  const whole = code.select(far, zero, parts.significand.shrU(shift));
  const back = code.constant(32, 64).sub(shift);
  const rest = code.select(far, parts.significand.isNonzero().zext(64), code.select(shift.leS(0), zero, parts.significand.shl(back)));
  const half = code.constant(64, -(2n ** 63n));
  const nearest = rest.gtU(half).or(rest.eq(half).and(whole.trunc(32).and(1)));
  const lost = rest.isNonzero();
  const away = mode.eq(Round.DOWN).and(parts.sign).or(mode.eq(Round.UP).and(parts.sign.isZero())).and(lost);
  const up = code.select(mode.eq(Round.NEAREST), nearest, code.select(mode.eq(Round.ZERO), code.constant(32, 0), away));
  return { magnitude: whole.add(up.zext(64)), lost, exponent };
}

/** A format to a signed integer: (bits, rounding mode, mxcsr, cpu) → integer; the integer indefinite when it does not fit. */
const toInteger = (from: Format, bits: 32 | 64): FunctionDefinition =>
  defineFunction(`${from.name}.to.i${bits}`, { params: ['i64', 'i32', 'i32', 'i32'], results: ['i64'] }, (code) => {
    const soft = new Soft(code, from, code.param(2, 32), code.param(3, 32));
    const a = soft.operand(code.param(0, 64));
    const least = code.constant(64, -(2n ** BigInt(bits - 1)));
    const { magnitude, lost, exponent } = integral(soft, a, code.param(1, 32));
    const negative = soft.sign(a);
    const limit = code.constant(64, 2n ** BigInt(bits - 1));
    // -2^63 is the one number of its exponent that fits.
    const smallest = soft.const64(soft.signBit | (BigInt(from.bias + 63) << BigInt(from.fraction)));
    const exact = bits === 64 ? a.eq(smallest) : code.constant(32, 0);
    const fits = code.select(negative, magnitude.leU(limit), magnitude.ltU(limit)).and(exponent.ltS(63));
    code.if(soft.isNaN(a).or(fits.or(exact).isZero()), () => {
      soft.raise(Flag.INVALID);
      code.return(least);
    });
    code.if(exact, () => code.return(least));
    code.if(lost, () => soft.raise(Flag.PRECISION));
    code.return(code.select(negative, magnitude.neg(), magnitude));
  });

/** A number to an integral number of its format: (bits, rounding mode, quiet, mxcsr, cpu) → bits; with `quiet` lost precision is not reported. */
const toIntegral = (format: Format): FunctionDefinition =>
  defineFunction(`${format.name}.integral`, { params: ['i64', 'i32', 'i32', 'i32', 'i32'], results: ['i64'] }, (code) => {
    const soft = new Soft(code, format, code.param(3, 32), code.param(4, 32));
    const a = soft.operand(code.param(0, 64));
    soft.propagate(a);
    const { magnitude, lost, exponent } = integral(soft, a, code.param(1, 32));
    code.if(exponent.geS(format.fraction), () => code.return(a));
    code.if(lost.and(code.param(2, 32).isZero()), () => soft.raise(Flag.PRECISION));
    code.if(magnitude.isZero(), () => code.return(soft.zero(soft.sign(a))));
    const zeros = magnitude.clz().trunc(32);
    const biased = code
      .constant(32, format.bias + 63 - 1)
      .sub(zeros)
      .zext(64)
      .shl(format.fraction);
    code.return(soft.zero(soft.sign(a)).or(biased.add(magnitude.shl(zeros.sub(63 - format.fraction)))));
  });

/** Exact conversions. */
export const convert = {
  f32: {
    f64: between(SINGLE, DOUBLE),
    f16: between(SINGLE, HALF),
    i32: toInteger(SINGLE, 32),
    i64: toInteger(SINGLE, 64),
    integral: toIntegral(SINGLE),
    fromInteger: fromInteger(SINGLE),
  },
  f64: {
    f32: between(DOUBLE, SINGLE),
    i32: toInteger(DOUBLE, 32),
    i64: toInteger(DOUBLE, 64),
    integral: toIntegral(DOUBLE),
    fromInteger: fromInteger(DOUBLE),
  },
  f16: { f32: between(HALF, SINGLE) },
} as const;
