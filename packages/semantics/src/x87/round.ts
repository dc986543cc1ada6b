import { defineFunction, type FunctionDefinition } from '@nestvm/emit';
import { shiftRightJamWide, type Wide } from '../float/wide.js';
import { At, BIAS, Fpu, type I, KindOf, type Q, Status, TOP } from './fpu.js';

/** What rounding the exponent-adjusted result of an unmasked overflow or underflow moves its exponent by (SDM Vol. 1, "Numeric Overflow Exception"). */
const WRAP = 24576;
const HALF = 1n << 63n;

/** What is kept of a significand at some precision, and the rest with its leading bit at 63 (the lowest bit stands for all below). */
interface Split {
  readonly kept: Q;
  readonly rest: Q;
  readonly up: I;
}

/** Splits a 128-bit significand after `precision` bits and decides on the direction. */
function split(f: Fpu, wide: Wide, precision: I, sign: I): Split {
  const { code } = f;
  const unit = f.q(1).shl(f.i(64).sub(precision));
  const isFull = precision.eq(64);
  const mask = code.select(isFull, f.q(0), unit.sub(1));
  const rest = code.select(isFull, wide.low, wide.high.and(mask).shl(precision).or(wide.low.isNonzero().zext(64)));
  const kept = wide.high.and(mask.not());
  return { kept, rest, up: roundsUp(f, sign, kept.and(unit).isNonzero(), rest) };
}

/** 1 when a magnitude with this remainder below its last place is rounded away from zero. */
export function roundsUp(f: Fpu, sign: I, odd: I, rest: Q): I {
  const mode = f.rounding;
  const nearest = rest.gtU(HALF).or(rest.eq(HALF).and(odd));
  const directed = mode
    .eq(1)
    .and(sign)
    .or(mode.eq(2).and(sign.xor(1)))
    .and(rest.isNonzero());
  return f.code.select(mode.isZero(), nearest, directed);
}

/** Precision control as a number of bits. */
export function precisionControl(f: Fpu): I {
  const pc = f.control.shrU(8).and(3);
  return f.code.select(pc.isZero(), f.i(24), f.code.select(pc.eq(2), f.i(53), f.i(64)));
}

/**
 * Rounds to the extended format at a precision of 24, 53 or 64 bits: (cpu, sign, biased exponent, high, low, precision) with bit 63 of `high` set.
 * Tininess is detected after rounding. Unmasked overflow and underflow give the result with a wrapped exponent.
 */
const ROUND = defineFunction('x87.round', { params: ['i32', 'i32', 'i32', 'i64', 'i64', 'i32'], results: [] }, (code) => {
  const f = new Fpu(code, code.param(0, 32));
  const [sign, precision] = [code.param(1, 32), code.param(5, 32)];
  const wide: Wide = { high: code.param(3, 64), low: code.param(4, 64) };
  const unit = f.q(1).shl(f.i(64).sub(precision));
  const first = split(f, wide, precision, sign);
  const sum = first.kept.add(code.select(first.up, unit, f.q(0)));
  const carry = sum.isZero();
  const exponent = code.variable(code.param(2, 32).add(carry));
  const deliver = (rest: Q, up: I, significand: Q, biased: I): void => {
    f.raise(rest.isNonzero().mul(Status.PRECISION).or(up.mul(Status.C1)));
    f.result(significand, sign.shl(15).or(biased));
  };
  code.if(exponent.get().leS(0), () => {
    code.if(f.control.and(Status.UNDERFLOW).isNonzero(), () => {
      const shifted = shiftRightJamWide(wide, f.i(1).sub(code.param(2, 32)));
      const second = split(f, shifted, precision, sign);
      const rounded = second.kept.add(code.select(second.up, unit, f.q(0)));
      f.raise(second.rest.isNonzero().mul(Status.UNDERFLOW));
      deliver(second.rest, second.up, rounded, rounded.shrU(63).trunc(32));
      code.return();
    });
    f.raise(Status.UNDERFLOW);
    exponent.set(exponent.get().add(WRAP));
    code.if(exponent.get().leS(0), () => {
      f.raise(Status.PRECISION);
      f.zero(sign);
      code.return();
    });
  });
  code.if(exponent.get().geS(TOP), () => {
    f.raise(Status.OVERFLOW);
    code.if(f.control.and(Status.OVERFLOW).isNonzero(), () => {
      const mode = f.rounding;
      const away = mode.isZero().or(code.select(sign, mode.eq(1), mode.eq(2)));
      f.raise(away.mul(Status.C1).or(Status.PRECISION));
      f.result(code.select(away, f.q(HALF), unit.neg()), sign.shl(15).or(f.i(TOP - 1).add(away)));
      code.return();
    });
    exponent.set(exponent.get().sub(WRAP));
    // Only FSCALE can go so far: then the wrapped result overflows too.
    code.if(exponent.get().geS(TOP), () => {
      f.raise(Status.C1 | Status.PRECISION);
      f.infinity(sign);
      code.return();
    });
  });
  deliver(first.rest, first.up, code.select(carry, f.q(HALF), sum), exponent.get());
});

/** Leaves the function with a rounded result. */
export function returnRounded(f: Fpu, sign: I, exponent: I, wide: Wide, precision: I): void {
  f.code.run(ROUND, f.cpu, sign, exponent, wide.high, wide.low, precision);
  f.code.return();
}

/** A memory format: single or double precision. */
interface Narrow {
  readonly bits: 32 | 64;
  readonly fraction: number;
  readonly bias: number;
  readonly top: number;
}
const SINGLE: Narrow = { bits: 32, fraction: 23, bias: 127, top: 0xff };
const DOUBLE: Narrow = { bits: 64, fraction: 52, bias: 1023, top: 0x7ff };

/** ST(0) as single or double: (cpu) → bit pattern; exceptions are collected, the caller does not store when some are unmasked. */
const narrow = ({ bits, fraction, bias, top }: Narrow): FunctionDefinition =>
  defineFunction(`x87.narrow${bits}`, { params: ['i32'], results: ['i64'] }, (code) => {
    const f = new Fpu(code, code.param(0, 32));
    const value = f.st(0);
    const sign = f.sign(value.se);
    const signed = (magnitude: Q | bigint): Q =>
      sign
        .zext(64)
        .shl(bits - 1)
        .or(magnitude);
    const infinity = BigInt(top) << BigInt(fraction);
    const quiet = 1n << BigInt(fraction - 1);
    f.clearRaised();
    code.if(value.kind.geU(KindOf.UNSUPPORTED), () => {
      f.raise(code.select(value.kind.eq(KindOf.EMPTY), f.i(Status.UNDERFLOW_OF_STACK), f.i(Status.INVALID)));
      code.return(f.q((1n << BigInt(bits - 1)) | infinity | quiet));
    });
    code.if(value.kind.geU(KindOf.QUIET), () => {
      f.raise(value.kind.eq(KindOf.SIGNALING));
      code.return(
        signed(
          value.significand
            .shl(1)
            .shrU(64 - fraction)
            .or(infinity | quiet),
        ),
      );
    });
    code.if(value.kind.eq(KindOf.INFINITE), () => code.return(signed(infinity)));
    code.if(value.kind.eq(KindOf.ZERO), () => code.return(signed(0n)));
    const parts = f.unpack(value);
    const precision = f.i(fraction + 1);
    const unit = 1n << BigInt(63 - fraction);
    const wide: Wide = { high: parts.significand, low: f.q(0) };
    const first = split(f, wide, precision, sign);
    const sum = first.kept.add(code.select(first.up, f.q(unit), f.q(0)));
    const carry = sum.isZero();
    const exponent = parts.exponent.sub(BIAS - bias);
    const deliver = ({ rest, up }: Split, whole: Q): void => {
      f.raise(rest.isNonzero().mul(Status.PRECISION).or(up.mul(Status.C1)));
      code.return(signed(whole));
    };
    code.if(exponent.add(carry).leS(0), () => {
      const second = split(f, shiftRightJamWide(wide, f.i(1).sub(exponent)), precision, sign);
      f.raise(second.rest.isNonzero().or(f.control.and(Status.UNDERFLOW).isZero()).mul(Status.UNDERFLOW));
      // Not stored when unmasked: then nothing was rounded either.
      code.if(f.unmasked().and(Status.UNDERFLOW), () => code.return(f.q(0)));
      // Rounding up to the smallest normal number makes the exponent field 1 by itself.
      deliver(second, second.kept.add(code.select(second.up, f.q(unit), f.q(0))).shrU(63 - fraction));
    });
    code.if(exponent.add(carry).geS(top), () => {
      const mode = f.rounding;
      const away = mode.isZero().or(code.select(sign, mode.eq(1), mode.eq(2)));
      const masked = f.control.and(Status.OVERFLOW).isNonzero();
      f.raise(away.mul(Status.C1).or(Status.PRECISION).mul(masked).or(Status.OVERFLOW));
      code.return(signed(f.q(infinity - 1n).add(away.zext(64))));
    });
    deliver(
      first,
      exponent
        .add(carry)
        .sub(1)
        .zext(64)
        .shl(fraction)
        .add(code.select(carry, f.q(HALF), sum).shrU(63 - fraction)),
    );
  });

export const NARROW = { 32: narrow(SINGLE), 64: narrow(DOUBLE) } as const;

/** Puts a single or double into the source operand: (cpu, bit pattern). Denormals are normalized, but keep their kind. */
const widen = ({ bits, fraction, bias, top }: Narrow): FunctionDefinition =>
  defineFunction(`x87.widen${bits}`, { params: ['i32', 'i64'], results: [] }, (code) => {
    const f = new Fpu(code, code.param(0, 32));
    const value = code.param(1, 64);
    const sign = value
      .shrU(bits - 1)
      .trunc(32)
      .shl(15);
    const field = value.shrU(fraction).trunc(32).and(top);
    const body = value.shl(63 - fraction).and(HALF - 1n);
    const put = (significand: Q, exponent: I, kind: I): void => {
      f.setSource({ significand, se: sign.or(exponent), kind });
      code.return();
    };
    code.if(field.isZero(), () => {
      code.if(body.isZero(), () => put(body, f.i(0), f.i(KindOf.ZERO)));
      const zeros = body.clz().trunc(32);
      put(body.shl(zeros), f.i(BIAS - bias + 1).sub(zeros), f.i(KindOf.DENORMAL));
    });
    code.if(field.eq(top), () => {
      const nan = f.i(KindOf.SIGNALING).sub(body.shrU(62).trunc(32));
      put(body.or(HALF), f.i(TOP), code.select(body.isZero(), f.i(KindOf.INFINITE), nan));
    });
    put(body.or(HALF), field.add(BIAS - bias), f.i(KindOf.FINITE));
  });

export const WIDEN = { 32: widen(SINGLE), 64: widen(DOUBLE) } as const;

/** Puts a signed integer into the source operand: (cpu, value). */
export const FROM_INTEGER = defineFunction('x87.fromInteger', { params: ['i32', 'i64'], results: [] }, (code) => {
  const f = new Fpu(code, code.param(0, 32));
  const value = code.param(1, 64);
  const negative = value.shrU(63).trunc(32);
  const magnitude = code.select(negative, value.neg(), value);
  const zeros = magnitude.clz().trunc(32);
  const isZero = magnitude.isZero();
  const se = code.select(isZero, f.i(0), negative.shl(15).or(f.i(BIAS + 63).sub(zeros)));
  f.setSource({ significand: magnitude.shl(zeros), se, kind: isZero.xor(1) });
});

/** Significand and remainder of a finite number as an integer, below 2^64; the exponent is at most 63 + bias. */
export function integerPart(f: Fpu, { exponent, significand }: { exponent: I; significand: Q }): { whole: Q; rest: Q } {
  const { code } = f;
  const down = f.i(BIAS + 63).sub(exponent);
  const wide = shiftRightJamWide({ high: significand, low: f.q(0) }, down);
  return { whole: code.select(down.isZero(), significand, wide.high), rest: code.select(down.isZero(), f.q(0), wide.low) };
}

/** ST(0) as a signed integer: (cpu, bits: 16, 32 or 64, truncate) → value; exceptions are collected. */
export const TO_INTEGER = defineFunction('x87.toInteger', { params: ['i32', 'i32', 'i32'], results: ['i64'] }, (code) => {
  const f = new Fpu(code, code.param(0, 32));
  const [bits, truncate] = [code.param(1, 32), code.param(2, 32)];
  const value = f.st(0);
  const limit = f.q(1).shl(bits.sub(1));
  f.clearRaised();
  const invalid = (condition: I): void =>
    code.if(condition, () => {
      f.set(At.RAISED, code.select(value.kind.eq(KindOf.EMPTY), f.i(Status.UNDERFLOW_OF_STACK), f.i(Status.INVALID)));
      code.return(limit.neg());
    });
  invalid(value.kind.geU(KindOf.INFINITE));
  code.if(value.kind.eq(KindOf.ZERO), () => code.return(f.q(0)));
  const parts = f.unpack(value);
  invalid(parts.exponent.gtS(BIAS + 63));
  const { whole, rest } = integerPart(f, parts);
  const up = roundsUp(f, parts.sign, whole.trunc(32).and(1), rest).and(truncate.isZero());
  const magnitude = whole.add(up.zext(64));
  invalid(magnitude.gtU(limit.sub(parts.sign.xor(1).zext(64))).or(magnitude.isZero().and(whole.isNonzero())));
  f.raise(rest.isNonzero().mul(Status.PRECISION).or(up.mul(Status.C1)));
  code.return(code.select(parts.sign, magnitude.neg(), magnitude));
});
