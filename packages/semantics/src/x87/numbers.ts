import { defineFunction, type FunctionDefinition } from '@nestvm/emit';
import { vcpuState } from '@nestvm/isa';
import { FINISH, PUSH, recordExceptions } from './arithmetic.js';
import { At, BIAS, Fpu, helper, type I, INDEFINITE, KindOf, propagate, type Q, Status } from './fpu.js';
import { integerPart, returnRounded, roundsUp } from './round.js';

const { offset } = vcpuState;

/** FRNDINT of ST(0) into the result: (cpu). */
export const ROUND_TO_INTEGER = helper('roundToInteger', 0, (f) => {
  const { code } = f;
  const value = f.st(0);
  f.clearRaised();
  propagate(f, value);
  const parts = f.unpack(value);
  code.if(
    value.kind
      .isZero()
      .or(f.isKind(value, KindOf.INFINITE))
      .or(parts.exponent.geS(BIAS + 63)),
    () => {
      f.result(value.significand, value.se);
      code.return();
    },
  );
  f.noteDenormal(value);
  const { whole, rest } = integerPart(f, parts);
  const up = roundsUp(f, parts.sign, whole.trunc(32).and(1), rest);
  const rounded = whole.add(up.zext(64));
  f.raise(rest.isNonzero().mul(Status.PRECISION).or(up.mul(Status.C1)));
  code.if(rounded.isZero(), () => {
    f.zero(parts.sign);
    code.return();
  });
  const zeros = rounded.clz().trunc(32);
  f.result(rounded.shl(zeros), parts.sign.shl(15).or(f.i(BIAS + 63).sub(zeros)));
});

/** FSCALE of ST(0) by ST(1) into the result: (cpu). */
export const SCALE = helper('scale', 0, (f) => {
  const { code } = f;
  const [a, b] = [f.st(0), f.st(1)];
  f.clearRaised();
  propagate(f, a, b);
  const [signA, signB] = [f.sign(a.se), f.sign(b.se)];
  const [infA, infB] = [f.isKind(a, KindOf.INFINITE), f.isKind(b, KindOf.INFINITE)];
  f.invalidIf(infB.and(code.select(signB, infA, a.kind.isZero())));
  f.noteDenormal(a, b);
  code.if(infB, () => {
    code.if(
      signB,
      () => f.zero(signA),
      () => f.infinity(signA),
    );
    code.return();
  });
  code.if(infA.or(a.kind.isZero()).or(b.kind.isZero()), () => {
    code.if(f.isKind(a, KindOf.DENORMAL), () => {
      const parts = f.unpack(a);
      returnRounded(f, parts.sign, parts.exponent, { high: parts.significand, low: f.q(0) }, f.i(64));
    });
    f.result(a.significand, a.se);
    code.return();
  });
  const by = f.unpack(b);
  const down = f.i(BIAS + 63).sub(by.exponent);
  const amount = code.select(down.gtS(63), f.q(0), by.significand.shrU(down)).trunc(32);
  const bounded = code.select(by.exponent.gtS(BIAS + 15), f.i(0x10000), amount);
  const parts = f.unpack(a);
  const exponent = parts.exponent.add(code.select(signB, f.i(0).sub(bounded), bounded));
  returnRounded(f, parts.sign, exponent, { high: parts.significand, low: f.q(0) }, f.i(64));
});

/** FXTRACT: (cpu): the exponent of ST(0) replaces it, its significand is pushed. */
export const EXTRACT = helper('extract', 0, (f) => {
  const { code } = f;
  const value = f.st(0);
  f.clearRaised();
  const under = f.physical(0);
  const finish = (): void => {
    const flags = f.get(At.RAISED);
    const unmasked = f.unmasked();
    recordExceptions(f, flags, unmasked);
    code.if(unmasked.isNonzero(), () => code.return());
    f.writeRegister(under, f.get64(At.RESULT), f.get(At.RESULT_SE));
    const fresh = f.physical(7);
    f.set(offset.ftop, fresh);
    f.writeRegister(fresh, f.get64(At.SOURCE), f.get(At.SOURCE_SE));
    code.return();
  };
  const sourceIs = (significand: Q, se: I): void => f.setSource({ significand, se, kind: f.i(0) });
  const stackFault = f.isKind(value, KindOf.EMPTY).or(f.isEmpty(f.physical(7)).isZero());
  code.if(stackFault, () => {
    f.raise(code.select(f.isKind(value, KindOf.EMPTY), f.i(Status.UNDERFLOW_OF_STACK), f.i(Status.OVERFLOW_OF_STACK)));
    f.indefinite();
    sourceIs(f.q(INDEFINITE.significand), f.i(INDEFINITE.se));
    finish();
  });
  code.if(value.kind.geU(KindOf.QUIET), () => {
    f.raise(value.kind.ne(KindOf.QUIET));
    const isNaN = value.kind.ne(KindOf.UNSUPPORTED);
    f.result(code.select(isNaN, value.significand.or(1n << 62n), f.q(INDEFINITE.significand)), code.select(isNaN, value.se, f.i(INDEFINITE.se)));
    sourceIs(f.get64(At.RESULT), f.get(At.RESULT_SE));
    finish();
  });
  sourceIs(value.significand, value.se);
  code.if(f.isKind(value, KindOf.INFINITE), () => {
    f.infinity(f.i(0));
    finish();
  });
  code.if(value.kind.isZero(), () => {
    f.raise(Status.ZERO);
    f.infinity(f.i(1));
    finish();
  });
  f.noteDenormal(value);
  const parts = f.unpack(value);
  sourceIs(parts.significand, parts.sign.shl(15).or(BIAS));
  const power = parts.exponent.sub(BIAS);
  const negative = power.shrU(31);
  const magnitude = code.select(negative, f.i(0).sub(power), power).zext(64);
  const zeros = magnitude.clz().trunc(32);
  code.if(
    power.isZero(),
    () => f.zero(f.i(0)),
    () => f.result(magnitude.shl(zeros), negative.shl(15).or(f.i(BIAS + 63).sub(zeros))),
  );
  finish();
});

/** FPREM (nearest 0) and FPREM1 (nearest 1) of ST(0) by ST(1) into the result, with C0 C3 C1 C2: (cpu, nearest). */
export const REMAINDER = helper('remainder', 1, (f, nearest) => {
  const { code } = f;
  const [a, b] = [f.st(0), f.st(1)];
  f.clearRaised();
  f.set(offset.fsw, f.status.and(~Status.C2));
  propagate(f, a, b);
  f.invalidIf(f.isKind(a, KindOf.INFINITE).or(b.kind.isZero()));
  f.noteDenormal(a, b);
  code.if(f.unmasked(), () => code.return());
  code.if(a.kind.isZero(), () => {
    f.set(offset.fsw, f.status.and(~Status.CONDITIONS));
    f.result(a.significand, a.se);
    code.return();
  });
  const [ua, ub] = [f.unpack(a), f.unpack(b)];
  const infB = f.isKind(b, KindOf.INFINITE);
  const distance = code.select(infB, f.i(-10), ua.exponent.sub(ub.exponent));
  const rest = code.variable(ua.significand);
  const quotient = code.variable(f.q(0));
  const exponent = code.variable(ua.exponent);
  const sign = code.variable(ua.sign);
  const partial = distance.geS(64);
  code.if(distance.geS(0), () => {
    const turns = code.variable(code.select(partial, distance.and(31).or(32), distance));
    exponent.set(ua.exponent.sub(turns.get()));
    const carry = code.variable(f.i(0));
    code.loop((again) => {
      const fits = carry.get().or(rest.get().geU(ub.significand));
      quotient.set(quotient.get().shl(1).or(fits.zext(64)));
      rest.set(code.select(fits, rest.get().sub(ub.significand), rest.get()));
      const last = turns.get().isZero();
      turns.set(turns.get().sub(1));
      code.if(last.isZero(), () => {
        carry.set(rest.get().shrU(63).trunc(32));
        rest.set(rest.get().shl(1));
      });
      again(last.isZero());
    });
  });
  code.if(nearest.and(partial.isZero()), () => {
    code.if(distance.geS(0), () => {
      const other = ub.significand.sub(rest.get());
      const beyond = rest
        .get()
        .gtU(other)
        .or(rest.get().eq(other).and(quotient.get().trunc(32)));
      code.if(beyond, () => {
        rest.set(other);
        quotient.set(quotient.get().add(1));
        sign.set(sign.get().xor(1));
      });
    });
    code.if(distance.eq(-1).and(ua.significand.gtU(ub.significand)), () => {
      rest.set(ub.significand.shl(1).sub(ua.significand));
      quotient.set(f.q(1));
      sign.set(sign.get().xor(1));
    });
  });
  const low = quotient.get().trunc(32);
  const conditions = low.and(1).shl(9).or(low.shrU(1).and(1).shl(14)).or(low.shrU(2).and(1).shl(8));
  f.set(offset.fsw, f.status.and(~Status.CONDITIONS));
  f.raise(code.select(partial, f.i(Status.C2), conditions));
  code.if(rest.get().isZero(), () => {
    f.zero(ua.sign);
    code.return();
  });
  const zeros = rest.get().clz().trunc(32);
  returnRounded(f, sign.get(), exponent.get().sub(zeros), { high: rest.get().shl(zeros), low: f.q(0) }, f.i(64));
});

/** FBLD: (cpu, low 64 bits, high 16 bits): the source operand becomes the decimal number. */
export const FROM_DECIMAL = defineFunction('x87.fromDecimal', { params: ['i32', 'i64', 'i32'], results: [] }, (code) => {
  const f = new Fpu(code, code.param(0, 32));
  const [low, high] = [code.param(1, 64), code.param(2, 32)];
  const high0 = high.and(15);
  const value = code.variable(high.shrU(4).and(15).mul(10).add(high0).zext(64));
  const place = code.variable(f.i(60));
  code.loop((again) => {
    value.set(value.get().mul(10).add(low.shrU(place.get()).and(15)));
    place.set(place.get().sub(4));
    again(place.get().geS(0));
  });
  const zeros = value.get().clz().trunc(32);
  const isZero = value.get().isZero();
  const sign = high.and(0x8000);
  f.setSource({ significand: value.get().shl(zeros), se: code.select(isZero, sign, sign.or(f.i(BIAS + 63).sub(zeros))), kind: isZero.xor(1) });
});

/** FBSTP: (cpu, integer) → the low 16 digits of the integer that TO_INTEGER made of ST(0); sign and top digits go into the result's exponent word. */
export const TO_DECIMAL = defineFunction('x87.toDecimal', { params: ['i32', 'i64'], results: ['i64'] }, (code) => {
  const f = new Fpu(code, code.param(0, 32));
  const value = code.param(1, 64);
  const sign = f.sign(f.readRegister(f.physical(0)).se);
  const rest = code.variable(code.select(value.ltS(0), value.neg(), value));
  code.if(f.get(At.RAISED).and(1).or(rest.get().gtU(999999999999999999n)), () => {
    f.set(At.RAISED, f.get(At.RAISED).and(Status.STACK).or(Status.INVALID));
    f.set(At.RESULT_SE, f.i(0xffff));
    code.return(f.q(0xc000000000000000n));
  });
  const digits = code.variable(f.q(0));
  const place = code.variable(f.i(0));
  code.loop((again) => {
    digits.set(digits.get().or(rest.get().remU(10).shl(place.get())));
    rest.set(rest.get().divU(10));
    place.set(place.get().add(4));
    again(place.get().ltU(64));
  });
  const top = rest.get().trunc(32);
  f.set(At.RESULT_SE, sign.shl(15).or(top.divU(10).shl(4)).or(top.remU(10)));
  code.return(digits.get());
});

/** Constants by mnemonic: exponent, significand rounded down, and what follows it in units of its last place (SDM Vol. 1, "x87 FPU Constants"). */
const constant = (name: string, exponent: number, significand: bigint, restAboveHalf: boolean): FunctionDefinition =>
  helper(name, 0, (f) => {
    const mode = f.rounding;
    const up = significand === 0n || (significand & (J_BIT - 1n)) === 0n ? f.i(0) : mode.eq(2).or(mode.isZero().and(restAboveHalf ? 1 : 0));
    f.setSource({ significand: f.q(significand).add(up.zext(64)), se: f.i(exponent), kind: f.i(0) });
    f.code.run(PUSH, f.cpu, f.i(0));
  });
const J_BIT = 1n << 63n;

/** FLD1, FLDZ and the rest: (cpu). */
export const CONSTANTS: Readonly<Record<string, FunctionDefinition>> = {
  FLD1: constant('fld1', BIAS, J_BIT, false),
  FLDL2T: constant('fldl2t', BIAS + 1, 0xd49a784bcd1b8afen, false),
  FLDL2E: constant('fldl2e', BIAS, 0xb8aa3b295c17f0bbn, true),
  FLDPI: constant('fldpi', BIAS + 1, 0xc90fdaa22168c234n, true),
  FLDLG2: constant('fldlg2', BIAS - 2, 0x9a209a84fbcff798n, true),
  FLDLN2: constant('fldln2', BIAS - 1, 0xb17217f7d1cf79abn, true),
  FLDZ: constant('fldz', 0, 0n, false),
};

/** FXCH: (cpu, i). An empty register counts as real indefinite when the invalid operation is masked. */
export const EXCHANGE = helper('exchange', 1, (f, index) => {
  const { code } = f;
  const [pa, pb] = [f.physical(0), f.physical(index)];
  const [emptyA, emptyB] = [f.isEmpty(pa), f.isEmpty(pb)];
  code.if(emptyA.or(emptyB).isZero(), () => {
    const [a, b] = [f.readRegister(pa), f.readRegister(pb)];
    f.set(offset.fsw, f.status.and(~Status.C1));
    f.writeRegister(pa, b.significand, b.se);
    f.writeRegister(pb, a.significand, a.se);
    code.return();
  });
  f.clearRaised();
  code.if(emptyA.or(emptyB), () => f.raise(Status.UNDERFLOW_OF_STACK));
  const unmasked = f.unmasked();
  recordExceptions(f, f.get(At.RAISED), unmasked);
  code.if(unmasked.isNonzero(), () => code.return());
  const [a, b] = [f.readRegister(pa), f.readRegister(pb)];
  const pick = (empty: I, v: { significand: Q; se: I }): [Q, I] => [
    code.select(empty, f.q(INDEFINITE.significand), v.significand),
    code.select(empty, f.i(INDEFINITE.se), v.se),
  ];
  const [xa, xb] = [pick(emptyA, a), pick(emptyB, b)];
  f.writeRegister(pa, ...xb);
  f.writeRegister(pb, ...xa);
});

/** FST, FSTP, FCMOVcc, FCHS, FABS: (cpu, from, to, pops, AND and XOR mask of sign and exponent): ST(to) ← ST(from). */
export const COPY = helper('copy', 5, (f, from, to, pops, and, xor) => {
  const { code } = f;
  const physical = f.physical(from);
  const value = f.readRegister(physical);
  const copied = value.se.and(and).xor(xor);
  code.if(f.isEmpty(physical).isZero(), () => {
    f.set(offset.fsw, f.status.and(~Status.C1));
    f.writeRegister(f.physical(to), value.significand, copied);
    f.pop(pops);
    code.return();
  });
  f.clearRaised();
  f.result(value.significand, copied);
  code.if(f.isEmpty(physical), () => {
    f.raise(Status.UNDERFLOW_OF_STACK);
    f.indefinite();
  });
  code.run(FINISH, f.cpu, to, pops);
});
