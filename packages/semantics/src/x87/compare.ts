import { defineFunction } from '@nestvm/emit';
import { vcpuState } from '@nestvm/isa';
import { COMPLETE } from './arithmetic.js';
import { At, Fpu, helper, type I, KindOf, type Q, Status } from './fpu.js';

/** Compares ST(0) with the source operand: (cpu, quiet) → 0 greater, 1 less, 2 equal, 3 unordered; exceptions are collected. */
export const RELATION = defineFunction('x87.relation', { params: ['i32', 'i32'], results: ['i32'] }, (code) => {
  const f = new Fpu(code, code.param(0, 32));
  const [a, b] = [f.st(0), f.source()];
  f.clearRaised();
  const any = (kind: number): I => a.kind.eq(kind).or(b.kind.eq(kind));
  code.if(a.kind.geU(KindOf.QUIET).or(b.kind.geU(KindOf.QUIET)), () => {
    const loud = any(KindOf.SIGNALING).or(any(KindOf.UNSUPPORTED)).or(code.param(1, 32).isZero());
    f.raise(code.select(any(KindOf.EMPTY), f.i(Status.UNDERFLOW_OF_STACK), loud));
    code.return(f.i(3));
  });
  f.noteDenormal(a, b);
  const [ua, ub] = [f.unpack(a), f.unpack(b)];
  const [zeroA, zeroB] = [a.kind.isZero(), b.kind.isZero()];
  code.if(zeroA.and(zeroB), () => code.return(f.i(2)));
  const rank = (zero: I, exponent: I): I => code.select(zero, f.i(-100000), exponent);
  const [ea, eb] = [rank(zeroA, ua.exponent), rank(zeroB, ub.exponent)];
  const [sa, sb]: Q[] = [ua.significand, ub.significand];
  const same = ea.eq(eb).and(sa!.eq(sb!));
  const less = ea.ltS(eb).or(ea.eq(eb).and(sa!.ltU(sb!)));
  // Of two negative numbers the larger magnitude is less; a zero has either sign.
  const differ = ua.sign.xor(ub.sign);
  const negative = code.select(zeroA, ub.sign.xor(1), ua.sign);
  code.return(code.select(same.and(differ.isZero()), f.i(2), code.select(differ, negative, less.xor(ua.sign))));
});

/** FCOM, FUCOM: (cpu, quiet, pops): C3 C2 C0 from the relation. */
export const COMPARE = helper('compare', 2, (f, quiet, pops) => {
  const { code } = f;
  const relation = code.call(RELATION, 32, f.cpu, quiet);
  const c0 = relation.and(1).shl(8);
  const c3 = relation.shrU(1).shl(14);
  const c2 = relation.eq(3).shl(10);
  f.set(vcpuState.offset.fsw, f.status.and(~Status.CONDITIONS).or(c0).or(c2).or(c3));
  code.run(COMPLETE, f.cpu, pops, f.i(7));
});

/** FXAM: (cpu): class of ST(0) in C3 C2 C0, its sign in C1. */
export const EXAMINE = helper('examine', 0, (f) => {
  const { code } = f;
  const { kind, se } = f.st(0);
  const { C0, C2, C3 } = Status;
  const classes = [C3, C2, C2 | C3, C0 | C2, C0, C0, 0, C0 | C3];
  let bits = f.i(classes[7]!);
  for (const [k, flags] of classes.slice(0, 7).entries()) bits = code.select(kind.eq(k), f.i(flags), bits);
  f.set(vcpuState.offset.fsw, f.status.and(~Status.CONDITIONS).or(bits).or(f.sign(se).shl(9)));
  f.set(At.RAISED, f.i(0));
});
