/**
 * Arithmetic in registers as it usually is: normal numbers, rounded to nearest at full precision, all exceptions masked, and a normal result. One function does it from
 * the registers to the status word; whatever is otherwise goes the long way, with nothing changed.
 */
import { type Branch, defineFunction, type FunctionDefinition } from '@nestvm/emit';
import { vcpuState } from '@nestvm/isa';
import { multiplyWide, type Wide } from '../float/wide.js';
import { ARITHMETIC, PUSH, quotient, SOURCE_ST } from './arithmetic.js';
import { RELATION } from './compare.js';
import { At, BIAS, Fpu, helper, type I, INDEFINITE, J, KindOf, type Q, Status, TOP } from './fpu.js';

const { offset } = vcpuState;
/** Of the control word: rounding, precision and masks; and what they are after FNINIT. */
const CONTROL = 0xf3f;
const USUAL = 0x33f;
const LARGEST = TOP - 1;

interface Register {
  readonly significand: Q;
  readonly se: I;
}

/** A result before it is rounded: bit 127 is set, and stands for 2^(exponent - bias). */
interface Unrounded extends Wide {
  readonly sign: I;
  readonly exponent: I;
}

/** 1 for numbers that are normal and finite. */
const isNormal = ({ significand, se }: Register): I => se.and(TOP).sub(1).ltU(LARGEST).and(significand.ltS(0));
const exponentOf = ({ se }: Register): I => se.and(TOP);
const negated = (value: Register): Register => ({ ...value, se: value.se.xor(0x8000) });

/** Two registers, and a way out unless both hold a normal number. */
function operands(f: Fpu, odd: Branch, a: I, b: I): readonly [Register, Register] {
  const [left, right] = [f.readRegister(a), f.readRegister(b)];
  const tags = f.get(offset.ftag);
  odd(tags.shrU(a).and(tags.shrU(b)).and(1).and(isNormal(left)).and(isNormal(right)).isZero());
  return [left, right];
}

/** a + b. Numbers that are 2^64 times as large as others, and results that lose as many bits, are rare. */
function sum(f: Fpu, odd: Branch, a: Register, b: Register): Unrounded {
  const { code } = f;
  const [ea, eb] = [exponentOf(a), exponentOf(b)];
  const swap = ea.ltU(eb).or(ea.eq(eb).and(a.significand.ltU(b.significand)));
  const exponent = code.variable(code.select(swap, eb, ea));
  const down = exponent.get().sub(code.select(swap, ea, eb));
  odd(down.gtU(63));
  const big = code.select(swap, b.significand, a.significand);
  const small = code.select(swap, a.significand, b.significand);
  const top = small.shrU(down);
  const rest = small.shl(1).shl(f.i(63).sub(down));
  const [high, low] = [code.variable(f.q(0)), code.variable(f.q(0))];
  code.if(
    f.sign(a.se.xor(b.se)),
    () => {
      const difference = big.sub(top).sub(rest.isNonzero().zext(64));
      odd(difference.isZero());
      const zeros = difference.clz().trunc(32);
      high.set(difference.shl(zeros).or(rest.neg().shrU(1).shrU(f.i(63).sub(zeros))));
      low.set(rest.neg().shl(zeros));
      exponent.set(exponent.get().sub(zeros));
    },
    () => {
      const total = big.add(top);
      const carry = total.ltU(big);
      high.set(code.select(carry, total.shrU(1).or(J), total));
      low.set(code.select(carry, total.shl(63).or(rest.shrU(1)).or(rest.and(1)), rest));
      exponent.set(exponent.get().add(carry));
    },
  );
  return { sign: f.sign(code.select(swap, b.se, a.se)), exponent: exponent.get(), high: high.get(), low: low.get() };
}

function product(f: Fpu, a: Register, b: Register): Unrounded {
  const { code } = f;
  const { high, low } = multiplyWide(a.significand, b.significand);
  const below = high.geS(0);
  return {
    sign: f.sign(a.se.xor(b.se)),
    exponent: exponentOf(a)
      .add(exponentOf(b))
      .sub(below.add(BIAS - 1)),
    high: code.select(below, high.shl(1).or(low.shrU(63)), high),
    low: code.select(below, low.shl(1), low),
  };
}

function ratio(f: Fpu, a: Register, b: Register): Unrounded {
  const { wide, less } = quotient(f, a.significand, b.significand);
  return { sign: f.sign(a.se.xor(b.se)), exponent: exponentOf(a).sub(exponentOf(b)).sub(less).add(BIAS), ...wide };
}

/** Rounds to nearest even and delivers to a physical register. */
function deliver(f: Fpu, odd: Branch, target: I, { sign, exponent, high, low }: Unrounded): void {
  const { code } = f;
  const up = low.gtU(J).or(low.eq(J).and(high.trunc(32).and(1)));
  const rounded = high.add(up.zext(64));
  const carry = rounded.isZero();
  const biased = exponent.add(carry);
  odd(biased.sub(1).geU(LARGEST));
  f.writeRegister(target, code.select(carry, f.q(J), rounded), sign.shl(15).or(biased));
  const flags = low.isNonzero().mul(Status.PRECISION).or(up.mul(Status.C1));
  f.set(offset.fsw, f.status.and(~Status.C1).or(flags));
}

type Compute = (f: Fpu, odd: Branch, a: Register, b: Register) => Unrounded;

/** (cpu, j, i, pops): ST(i) ← ST(i) op ST(j). */
const usual = (operation: number, compute: Compute): FunctionDefinition =>
  helper(`usual${operation}`, 3, (f, from, index, pops) => {
    const { code } = f;
    code.block((odd) => {
      odd(f.control.and(CONTROL).ne(USUAL));
      const target = f.physical(index);
      const [a, b] = operands(f, odd, target, f.physical(from));
      deliver(f, odd, target, compute(f, odd, a, b));
      f.pop(pops);
      code.return();
    });
    code.run(SOURCE_ST, f.cpu, from);
    code.run(ARITHMETIC, f.cpu, f.i(operation), index, pops);
  });

/** Arithmetic between registers, by the numbers that `ARITHMETIC` has for it. */
export const IN_REGISTERS: Readonly<Record<number, FunctionDefinition>> = {
  0: usual(0, sum),
  1: usual(1, (f, _, a, b) => product(f, a, b)),
  4: usual(4, (f, odd, a, b) => sum(f, odd, a, negated(b))),
  5: usual(5, (f, odd, a, b) => sum(f, odd, negated(a), b)),
  6: usual(6, (f, _, a, b) => ratio(f, a, b)),
  7: usual(7, (f, _, a, b) => ratio(f, b, a)),
};

/** Compares ST(0) with ST(i): (cpu, i, quiet) → as `RELATION`. */
export const RELATION_IN_REGISTERS = defineFunction('x87.relationInRegisters', { params: ['i32', 'i32', 'i32'], results: ['i32'] }, (code) => {
  const f = new Fpu(code, code.param(0, 32));
  code.block((odd) => {
    const [a, b] = operands(f, odd, f.physical(0), f.physical(code.param(1, 32)));
    f.clearRaised();
    const [ea, eb] = [exponentOf(a), exponentOf(b)];
    const less = ea.ltU(eb).or(ea.eq(eb).and(a.significand.ltU(b.significand)));
    const same = a.se.eq(b.se).and(a.significand.eq(b.significand));
    const negative = f.sign(a.se);
    code.return(code.select(same, f.i(2), code.select(f.sign(a.se.xor(b.se)), negative, less.xor(negative))));
  });
  code.run(SOURCE_ST, f.cpu, code.param(1, 32));
  code.return(code.call(RELATION, 32, f.cpu, code.param(2, 32)));
});

/** FLD ST(i): (cpu, i). */
export const PUSH_REGISTER = helper('pushRegister', 1, (f, index) => {
  const { code } = f;
  const [source, fresh] = [f.physical(index), f.physical(7)];
  code.if(f.isEmpty(fresh).and(f.isEmpty(source).isZero()), () => {
    const { significand, se } = f.readRegister(source);
    f.set(offset.fsw, f.status.and(~Status.C1));
    f.set(offset.ftop, fresh);
    f.writeRegister(fresh, significand, se);
    code.return();
  });
  code.run(SOURCE_ST, f.cpu, index);
  const empty = f.get(At.SOURCE_KIND).eq(KindOf.EMPTY);
  code.if(empty, () => f.setSource({ significand: f.q(INDEFINITE.significand), se: f.i(INDEFINITE.se), kind: f.i(0) }));
  code.run(PUSH, f.cpu, empty.mul(Status.UNDERFLOW_OF_STACK));
});
