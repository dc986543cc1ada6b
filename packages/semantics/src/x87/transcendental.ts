import type { FunctionDefinition, Val } from '@nestvm/emit';
import { vcpuState } from '@nestvm/isa';
import type { Meanings } from '../emitter.js';
import { multiplyWide, type Wide } from '../float/wide.js';
import { FINISH } from './arithmetic.js';
import { plain, run } from './emitters.js';
import { At, BIAS, type Extended, type Fpu, helper, type I, INDEFINITE, J, KindOf, propagate, type Q, Status } from './fpu.js';
import { add, choose, divide, fromExtended, multiply, negateIf, type Precise, preciseConstant, series, toFraction } from './precise.js';
import { returnRounded } from './round.js';

const { offset } = vcpuState;
const PI = 0xc90fdaa22168c234c4c6628b80dc1cd1n;
const LN2 = 0xb17217f7d1cf79abc9e3b39803f2f6afn;
const TWO_BY_LN2 = 0xb8aa3b295c17f0bbbe87fed0691d3e88n;
/** π as the trigonometric instructions have it: 66 bits (SDM Vol. 1, "Approximation of Pi"). */
const PI_66 = 0xc90fdaa22168c234c000000000000000n;
/** 2 / PI_66 as a fraction of 2^256, in words from the lowest. */
const TWO_BY_PI = [0x767cec1f80d6c260n, 0xd4c1fdf9055cd5ban, 0x62bc40da276ben, 0xa2f9836e4e44152an] as const;

const odds = (from: number, count: number): bigint[] => Array.from({ length: count }, (_, i) => BigInt(from + 2 * i));
const factorials = (from: number, step: number, count: number): bigint[] =>
  Array.from({ length: count }, (_, i) => {
    let product = 1n;
    for (let k = 2; k <= from + step * i; k++) product *= BigInt(k);
    return product;
  });

/** Leaves the function with an irrational number, rounded to 64 bits whatever the precision control. */
function returnInexact(f: Fpu, a: Precise): void {
  returnRounded(f, a.sign, a.exponent.add(BIAS), { high: a.wide.high, low: a.wide.low.or(1) }, f.i(64));
}

const returnWith = (f: Fpu, condition: I, write: () => void): void =>
  f.code.if(condition, () => {
    write();
    f.code.return();
  });

/** F2XM1: 2^ST(0) - 1, defined from -1 to 1. */
const POWER = helper('power', 0, (f) => {
  const { code } = f;
  const value = f.st(0);
  f.clearRaised();
  propagate(f, value);
  const sign = f.sign(value.se);
  returnWith(f, value.kind.isZero(), () => f.result(value.significand, value.se));
  returnWith(f, f.isKind(value, KindOf.INFINITE), () =>
    code.if(
      sign,
      () => f.result(J, 0x8000 | BIAS),
      () => f.infinity(sign),
    ),
  );
  f.noteDenormal(value);
  const parts = f.unpack(value);
  // Out of range the result is undefined: the operand stays, inexact (as on AMD's processors). At the ends it is exact.
  returnWith(f, parts.exponent.geS(BIAS), () => {
    const isEnd = parts.exponent.eq(BIAS).and(parts.significand.eq(J));
    f.raise(isEnd.xor(1).mul(Status.PRECISION));
    const isOne = parts.exponent.eq(BIAS).and(parts.significand.eq(J)).and(sign);
    f.result(value.significand, code.select(isOne, f.i(0x8000 | (BIAS - 1)), value.se));
  });
  const scaled = multiply(f, fromExtended(f, parts), preciseConstant(f, -1, LN2));
  returnInexact(f, multiply(f, scaled, series(f, toFraction(f, scaled), sign, factorials(2, 1, 26))));
});

/** log2((1 + z) / (1 - z)) for |z| below 0.18. */
function logarithm(f: Fpu, z: Precise): Precise {
  const u = toFraction(f, multiply(f, z, z));
  return multiply(f, multiply(f, z, preciseConstant(f, 1, TWO_BY_LN2)), series(f, u, f.i(0), odds(3, 22)));
}

/** A logarithm to base 2; of a power of two it is exact. */
interface Logarithm {
  readonly value: Precise;
  readonly isPower: I;
}

/** log2 of a positive number: its exponent, and the logarithm of a mantissa between √½ and √2. */
function logarithmOf(f: Fpu, number: Precise): Logarithm {
  const { code } = f;
  const large = number.wide.high.gtU(0xb504f333f9de6484n);
  const k = number.exponent.add(large);
  const mantissa: Precise = { sign: f.i(0), exponent: f.i(0).sub(large), wide: number.wide };
  const one = preciseConstant(f, 0, 1n << 127n);
  const difference = add(f, mantissa, { ...one, sign: f.i(1) });
  const isPower = difference.wide.high.isZero();
  const guarded: Precise = { ...difference, wide: { high: code.select(isPower, f.q(J), difference.wide.high), low: difference.wide.low } };
  const fraction = logarithm(f, divide(f, guarded, add(f, mantissa, one)));
  const magnitude = code.select(k.ltS(0), f.i(0).sub(k), k).zext(64);
  const zeros = magnitude.clz().trunc(32);
  const whole: Precise = {
    sign: k.shrU(31),
    exponent: code.select(k.isZero(), f.i(-100000), f.i(63).sub(zeros)),
    wide: { high: magnitude.shl(zeros), low: f.q(0) },
  };
  return { value: choose(f, isPower, whole, add(f, whole, fraction)), isPower };
}

/** Leaves the function with y × a logarithm, rounded to 64 bits. */
function returnProduct(f: Fpu, { value, isPower }: Logarithm, y: Extended): void {
  const product = multiply(f, value, fromExtended(f, f.unpack(y)));
  const low = product.wide.low.or(isPower.xor(1).zext(64));
  returnRounded(f, product.sign, product.exponent.add(BIAS), { high: product.wide.high, low }, f.i(64));
}

/** FYL2X: ST(1) × log2(ST(0)). */
const LOGARITHM = helper('logarithm', 0, (f) => {
  const { code } = f;
  const [x, y] = [f.st(0), f.st(1)];
  f.clearRaised();
  propagate(f, x, y);
  const parts = f.unpack(x);
  const isOne = parts.exponent.eq(BIAS).and(parts.significand.eq(J)).and(x.kind.isNonzero());
  const [infX, infY] = [f.isKind(x, KindOf.INFINITE), f.isKind(y, KindOf.INFINITE)];
  f.invalidIf(
    f
      .sign(x.se)
      .and(x.kind.isNonzero())
      .or(y.kind.isZero().and(infX.or(x.kind.isZero())))
      .or(infX.and(y.kind.isZero()))
      .or(infY.and(isOne)),
  );
  const negative = parts.exponent.ltS(BIAS);
  const sign = f.sign(y.se).xor(negative.or(x.kind.isZero()));
  code.if(x.kind.isZero(), () => {
    f.raise(code.select(infY, f.i(0), f.i(Status.ZERO)));
    f.infinity(f.sign(y.se).xor(1));
    code.return();
  });
  f.noteDenormal(x, y);
  returnWith(f, infX.or(infY), () => f.infinity(code.select(infX, f.sign(y.se), sign)));
  returnWith(f, isOne.or(y.kind.isZero()), () => f.zero(sign));
  returnProduct(f, logarithmOf(f, fromExtended(f, parts)), y);
});

/** FYL2XP1: ST(1) × log2(ST(0) + 1), defined between ±(1 - √½). */
const LOGARITHM_PLUS_ONE = helper('logarithmPlusOne', 0, (f) => {
  const { code } = f;
  const [x, y] = [f.st(0), f.st(1)];
  f.clearRaised();
  propagate(f, x, y);
  const [infX, infY] = [f.isKind(x, KindOf.INFINITE), f.isKind(y, KindOf.INFINITE)];
  const sign = f.sign(x.se).xor(f.sign(y.se));
  f.invalidIf(infX.and(f.sign(x.se).or(y.kind.isZero())).or(infY.and(x.kind.isZero())));
  f.noteDenormal(x, y);
  returnWith(f, infX.or(infY), () => f.infinity(sign));
  returnWith(f, x.kind.isZero().or(y.kind.isZero()), () => f.zero(sign));
  const parts = f.unpack(x);
  const exact = fromExtended(f, parts);
  // Out of range the result is undefined: the operand stays up to -1, above it is what FYL2X makes of the sum (as on AMD's processors).
  returnWith(f, parts.exponent.geS(BIAS).and(f.sign(x.se)), () => {
    f.raise(Status.PRECISION);
    f.result(x.significand, x.se);
  });
  code.if(parts.exponent.geS(BIAS - 1), () => returnProduct(f, logarithmOf(f, add(f, exact, preciseConstant(f, 0, 1n << 127n))), y));
  const z = divide(f, exact, add(f, exact, preciseConstant(f, 1, 1n << 127n)));
  returnInexact(f, multiply(f, logarithm(f, z), fromExtended(f, f.unpack(y))));
});

/** FPATAN: the angle of the point (ST(0), ST(1)). */
const ARCTANGENT = helper('arctangent', 0, (f) => {
  const { code } = f;
  const [x, y] = [f.st(0), f.st(1)];
  f.clearRaised();
  propagate(f, x, y);
  f.noteDenormal(x, y);
  const [signX, signY] = [f.sign(x.se), f.sign(y.se)];
  const [infX, infY] = [f.isKind(x, KindOf.INFINITE), f.isKind(y, KindOf.INFINITE)];
  const angle = (exponent: number, significand = PI): void => returnInexact(f, { ...preciseConstant(f, exponent, significand), sign: signY });
  code.if(infY, () => {
    code.if(infX, () =>
      code.if(
        signX,
        () => angle(1, 0x96cbe3f9990e91a79394c9e8a0a5159dn),
        () => angle(-1),
      ),
    );
    angle(0);
  });
  code.if(y.kind.isZero().or(infX), () => {
    code.if(signX, () => angle(1));
    f.zero(signY);
    code.return();
  });
  code.if(x.kind.isZero(), () => angle(0));
  const [ax, ay] = [x, y].map((v) => ({ ...fromExtended(f, f.unpack(v)), sign: f.i(0) })) as [Precise, Precise];
  const swap = ay.exponent.gtS(ax.exponent).or(ay.exponent.eq(ax.exponent).and(ay.wide.high.gtU(ax.wide.high)));
  const [n, d] = [choose(f, swap, ax, ay), choose(f, swap, ay, ax)];
  // Above about tan(π/8): atan(n / d) = π/4 - atan((d - n) / (d + n)).
  const twice: Precise = { ...n, exponent: n.exponent.add(1) };
  const folded = twice.exponent.gtS(d.exponent).or(twice.exponent.eq(d.exponent).and(twice.wide.high.geU(d.wide.high)));
  const difference = add(f, d, { ...n, sign: f.i(1) });
  const equal = difference.wide.high.isZero();
  const v = divide(
    f,
    choose(
      f,
      folded,
      {
        ...difference,
        wide: { high: difference.wide.high.or(equal.zext(64).shl(63)), low: difference.wide.low },
        exponent: code.select(equal, f.i(-100000), difference.exponent),
      },
      n,
    ),
    choose(f, folded, add(f, d, n), d),
  );
  const u = toFraction(f, multiply(f, v, v));
  const small = multiply(f, v, series(f, u, f.i(1), odds(3, 62)));
  const first = choose(f, folded, add(f, preciseConstant(f, -1, PI), negateIf(f.i(1), small)), small);
  const second = choose(f, swap, add(f, preciseConstant(f, 0, PI), negateIf(f.i(1), first)), first);
  const third = choose(f, signX, add(f, preciseConstant(f, 1, PI), negateIf(f.i(1), second)), second);
  returnInexact(f, { ...third, sign: signY });
});

/** A number modulo π/2: the quadrant and what is left, between ±π/4. */
function reduce(f: Fpu, { exponent, significand }: { exponent: I; significand: Q }): { quadrant: I; rest: Precise } {
  const { code } = f;
  let carry: Q = f.q(0);
  const words: Q[] = TWO_BY_PI.map((word) => {
    const product: Wide = multiplyWide(significand, f.q(word));
    const low = product.low.add(carry);
    carry = product.high.add(low.ltU(carry).zext(64));
    return low;
  });
  const all = [...words, carry];
  const down = f.i(BIAS + 62).sub(exponent);
  const one = (high: Q, low: Q): Q => high.shl(1).shl(f.i(63).sub(down)).or(low.shrU(down));
  const shifted = all
    .map((word, i) => one(i === 4 ? f.q(0) : all[i + 1]!, word))
    .map((word, i, list) => word.shrU(1).or(i === 4 ? 0n : list[i + 1]!.shl(63)));
  const negative = shifted[3]!.shrU(63).trunc(32);
  const mask = negative.zext(64).neg();
  const [f0, f1, f2] = [shifted[1]!.xor(mask), shifted[2]!.xor(mask), shifted[3]!.xor(mask)];
  const isEmpty = f2.isZero();
  const wide: Wide = { high: code.select(isEmpty, f1, f2), low: code.select(isEmpty, f0, f1) };
  const last = code.select(isEmpty, f.q(0), f0);
  const zeros = wide.high.clz().trunc(32);
  const back = f.i(63).sub(zeros);
  const normal: Wide = { high: wide.high.shl(zeros).or(wide.low.shrU(1).shrU(back)), low: wide.low.shl(zeros).or(last.shrU(1).shrU(back)) };
  const turns: Precise = { sign: negative, exponent: f.i(-1).sub(zeros).sub(isEmpty.shl(6)), wide: normal };
  return { quadrant: shifted[4]!.trunc(32).add(negative).and(3), rest: multiply(f, turns, preciseConstant(f, 0, PI_66)) };
}

/** Sine and cosine of ±|x|, exactly signed. */
function sineAndCosine(f: Fpu, value: Extended): { sine: Precise; cosine: Precise } {
  const parts = f.unpack(value);
  const isSmall = parts.exponent.ltS(BIAS - 1);
  // Below one half no reduction is needed (and its shifts would not fit).
  const bounded = { significand: parts.significand, exponent: f.code.select(isSmall, f.i(BIAS), parts.exponent) };
  const reduced = reduce(f, bounded);
  const rest = choose(f, isSmall, { ...fromExtended(f, parts), sign: f.i(0) }, reduced.rest);
  const quadrant = f.code.select(isSmall, f.i(0), reduced.quadrant);
  const u = toFraction(f, multiply(f, rest, rest));
  const sine = multiply(f, rest, series(f, u, f.i(1), factorials(3, 2, 15)));
  const cosine = series(f, u, f.i(1), factorials(2, 2, 15));
  const odd = quadrant.and(1);
  return {
    sine: negateIf(parts.sign.xor(quadrant.shrU(1)), choose(f, odd, cosine, sine)),
    cosine: negateIf(quadrant.add(1).shrU(1).and(1), choose(f, odd, sine, cosine)),
  };
}

/** What the four trigonometric instructions do with special operands; C2 when the operand is out of range, which ends the function after `outOfRange`. */
function special(f: Fpu, value: Extended, zero: () => void): I {
  f.clearRaised();
  f.set(offset.fsw, f.status.and(~Status.C2));
  propagate(f, value);
  f.invalidIf(f.isKind(value, KindOf.INFINITE));
  returnWith(f, value.kind.isZero(), zero);
  f.noteDenormal(value);
  const tooLarge = value.se.and(0x7fff).geS(BIAS + 63);
  returnWith(f, tooLarge, () => {
    f.set(offset.fsw, f.status.or(Status.C2));
    f.result(value.significand, value.se);
  });
  return tooLarge;
}

const trigonometric = (name: string, zero: (f: Fpu, value: Extended) => void, pick: (f: Fpu, value: Extended) => Precise): FunctionDefinition =>
  helper(name, 0, (f) => {
    const value = f.st(0);
    special(f, value, () => zero(f, value));
    returnInexact(f, pick(f, value));
  });

const keep = (f: Fpu, value: Extended): void => f.result(value.significand, value.se);
const SINE = trigonometric('sine', keep, (f, value) => sineAndCosine(f, value).sine);
const COSINE = trigonometric(
  'cosine',
  (f) => f.result(J, BIAS),
  (f, value) => sineAndCosine(f, value).cosine,
);
const TANGENT = trigonometric('tangent', keep, (f, value) => {
  const { sine, cosine } = sineAndCosine(f, value);
  return divide(f, sine, cosine);
});

/** FSINCOS and FPTAN: (cpu, 1 for FPTAN): ST(0) becomes sine or tangent, cosine or 1.0 is pushed. */
const PAIR = helper('pair', 1, (f, isTangent) => {
  const { code, cpu } = f;
  const value = f.st(0);
  const full = f.isEmpty(f.physical(7)).isZero().and(value.kind.ne(KindOf.EMPTY));
  code.if(full, () => {
    f.set(At.RAISED, f.i(Status.OVERFLOW_OF_STACK));
    f.set(offset.fsw, f.status.and(~Status.C2));
    code.if(f.control.and(1).isZero(), () => {
      code.run(FINISH, cpu, f.i(0), f.i(0));
      code.return();
    });
    f.indefinite();
    code.run(FINISH, cpu, f.i(0), f.i(0));
    const under = f.physical(7);
    f.set(offset.ftop, under);
    f.writeRegister(under, f.q(INDEFINITE.significand), f.i(INDEFINITE.se));
    code.return();
  });
  // The second result is made first, in a variable: both helpers share the scratch.
  code.run(COSINE, cpu);
  const [significand, se]: [Val<64>, I] = [f.get64(At.RESULT), f.get(At.RESULT_SE)];
  const cosine = code.variable(significand);
  const cosineSe = code.variable(se);
  code.if(
    isTangent,
    () => code.run(TANGENT, cpu),
    () => code.run(SINE, cpu),
  );
  const isNumber = value.kind.leU(KindOf.DENORMAL);
  code.if(isTangent.and(isNumber), () => {
    cosine.set(f.q(J));
    cosineSe.set(f.i(BIAS));
  });
  const stopped = f.unmasked().and(7).or(f.status.and(Status.C2));
  code.run(FINISH, cpu, f.i(0), f.i(0));
  code.if(stopped.isZero(), () => {
    const fresh = f.physical(7);
    f.set(offset.ftop, fresh);
    f.writeRegister(fresh, cosine.get(), cosineSe.get());
  });
});

const unary = (target: FunctionDefinition) =>
  plain((x) => {
    run(x, target);
    run(x, FINISH, 0, 0);
  });
const binary = (target: FunctionDefinition) =>
  plain((x) => {
    run(x, target);
    run(x, FINISH, 1, 1);
  });

/** F2XM1, FYL2X and the other transcendental instructions. */
export const transcendentals: Meanings = {
  F2XM1: unary(POWER),
  FYL2X: binary(LOGARITHM),
  FYL2XP1: binary(LOGARITHM_PLUS_ONE),
  FPATAN: binary(ARCTANGENT),
  FSIN: unary(SINE),
  FCOS: unary(COSINE),
  FPTAN: plain((x) => run(x, PAIR, 1)),
  FSINCOS: plain((x) => run(x, PAIR, 0)),
};
