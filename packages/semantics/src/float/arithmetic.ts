import { defineFunction, type FunctionDefinition, type Val } from '@nestvm/emit';
import { DOUBLE, Flag, type Format, type Parts, SINGLE, Soft } from './format.js';
import { returnRounded } from './round.js';
import {
  addWide,
  leadingZerosWide,
  lessWide,
  multiplyWide,
  selectWide,
  shiftLeftWide,
  shiftRightJam,
  shiftRightJamWide,
  subtractWide,
  type Wide,
} from './wide.js';

type Q = Val<64>;
type I = Val<32>;

/** An exact operation on bit patterns: (operands…, mxcsr, cpu) → result; reports exceptions to the vCPU's collecting word. */
function operation(name: string, format: Format, operands: number, body: (soft: Soft, ...values: Q[]) => void): FunctionDefinition {
  const params = [...Array.from({ length: operands }, () => 'i64' as const), 'i32' as const, 'i32' as const];
  return defineFunction(`${format.name}.${name}`, { params, results: ['i64'] }, (code) => {
    const soft = new Soft(code, format, code.param(operands, 32), code.param(operands + 1, 32));
    body(soft, ...Array.from({ length: operands }, (_, i) => soft.operand(code.param(i, 64))));
  });
}

/** a + b where neither is NaN or infinite. */
function returnSum(soft: Soft, a: Parts, b: Parts): void {
  const { code } = soft;
  const swap = a.exponent.ltS(b.exponent);
  const pickInt = (p: I, q: I): I => code.select(swap, q, p);
  const [big, small] = [code.select(swap, b.significand, a.significand).shrU(1), code.select(swap, a.significand, b.significand).shrU(1)];
  const exponent = pickInt(a.exponent, b.exponent);
  const sign = pickInt(a.sign, b.sign);
  const aligned = shiftRightJam(small, exponent.sub(pickInt(b.exponent, a.exponent)));
  const differ = a.sign.xor(b.sign);
  const total = code.select(differ, big.sub(aligned), big.add(aligned));
  code.if(total.isZero(), () => code.return(soft.zero(code.select(differ, soft.zeroSumSign(), a.sign))));
  const negative = total.ltS(0);
  const magnitude = code.select(negative, total.neg(), total);
  const zeros = magnitude.clz().trunc(32);
  returnRounded(soft, { sign: sign.xor(negative), exponent: exponent.add(2).sub(zeros), significand: magnitude.shl(zeros.sub(1)) });
}

const add = (format: Format, subtract: boolean): FunctionDefinition =>
  operation(subtract ? 'sub' : 'add', format, 2, (soft, a, b0) => {
    const { code } = soft;
    soft.propagate(a, b0);
    const b = subtract ? b0.xor(soft.signBit) : b0;
    soft.invalidIf(
      soft
        .isInfinite(a)
        .and(soft.isInfinite(b))
        .and(soft.sign(a).xor(soft.sign(b))),
    );
    soft.noteDenormals(a, b);
    code.if(soft.isInfinite(a), () => code.return(a));
    code.if(soft.isInfinite(b), () => code.return(b));
    returnSum(soft, soft.unpack(a), soft.unpack(b));
  });

const multiply = (format: Format): FunctionDefinition =>
  operation('mul', format, 2, (soft, a, b) => {
    const { code } = soft;
    soft.propagate(a, b);
    const infinite = soft.isInfinite(a).or(soft.isInfinite(b));
    const zero = soft.isZero(a).or(soft.isZero(b));
    soft.invalidIf(infinite.and(zero));
    soft.noteDenormals(a, b);
    const sign = soft.sign(a).xor(soft.sign(b));
    code.if(infinite, () => code.return(soft.zero(sign).or(soft.infinity)));
    code.if(zero, () => code.return(soft.zero(sign)));
    const [pa, pb] = [soft.unpack(a), soft.unpack(b)];
    const product = multiplyWide(pa.significand, pb.significand.shl(1));
    const high = product.high.or(product.low.isNonzero().zext(64));
    const zeros = high.clz().trunc(32);
    returnRounded(soft, { sign, exponent: pa.exponent.add(pb.exponent).sub(format.bias).add(2).sub(zeros), significand: high.shl(zeros.sub(1)) });
  });

/** The significand of a 53-bit nearest result, moved by one below its last place to the side where the exact one lies. */
function nudge(nearest: Q, remainder: Q): Q {
  return nearest.shl(10).add(remainder.gtS(0).zext(64)).sub(remainder.ltS(0).zext(64));
}

const divide = (format: Format): FunctionDefinition =>
  operation('div', format, 2, (soft, a, b) => {
    const { code } = soft;
    soft.propagate(a, b);
    const [infiniteA, infiniteB, zeroA, zeroB] = [soft.isInfinite(a), soft.isInfinite(b), soft.isZero(a), soft.isZero(b)];
    soft.invalidIf(infiniteA.and(infiniteB).or(zeroA.and(zeroB)));
    const sign = soft.sign(a).xor(soft.sign(b));
    code.if(zeroB.and(infiniteA.isZero()), () => {
      soft.raise(Flag.ZERO);
      code.return(soft.zero(sign).or(soft.infinity));
    });
    soft.noteDenormals(a, b);
    code.if(infiniteA, () => code.return(soft.zero(sign).or(soft.infinity)));
    code.if(infiniteB.or(zeroA), () => code.return(soft.zero(sign)));
    const [pa, pb] = [soft.unpack(a), soft.unpack(b)];
    const divisor = pb.significand.shrU(10);
    const first = pa.significand.shrU(10);
    const less = first.ltU(divisor);
    const dividend = first.shl(less);
    const real = (v: Q): Val<'f64'> => code.op('f64.convert_i64_u', 'f64', v);
    // The nearest 53-bit quotient by the host, then the exact remainder (its low 64 bits are enough) says where the true one lies.
    const scaled = code.op('f64.mul', 'f64', code.op('f64.div', 'f64', real(dividend), real(divisor)), code.constant('f64', 2 ** 52));
    const quotient = code.op('i64.trunc_sat_f64_u', 64, scaled);
    const remainder = dividend.shl(52).sub(quotient.mul(divisor));
    returnRounded(soft, { sign, exponent: pa.exponent.sub(pb.exponent).add(format.bias).sub(less), significand: nudge(quotient, remainder) });
  });

const squareRoot = (format: Format): FunctionDefinition =>
  operation('sqrt', format, 1, (soft, a) => {
    const { code } = soft;
    soft.propagate(a);
    code.if(soft.isZero(a), () => code.return(a));
    soft.invalidIf(soft.sign(a));
    soft.noteDenormals(a);
    code.if(soft.isInfinite(a), () => code.return(a));
    const parts = soft.unpack(a);
    const unbiased = parts.exponent.sub(format.bias);
    const odd = unbiased.and(1);
    const radicand = parts.significand.shrU(10).shl(odd);
    const real = code.op('f64.sqrt', 'f64', code.op('f64.convert_i64_u', 'f64', radicand));
    const root = code.op('i64.trunc_sat_f64_u', 64, code.op('f64.mul', 'f64', real, code.constant('f64', 2 ** 26)));
    const remainder = radicand.shl(52).sub(root.mul(root));
    returnRounded(soft, { sign: soft.const32(0), exponent: unbiased.sub(odd).shrS(1).add(format.bias), significand: nudge(root, remainder) });
  });

/** Sum of a product (significand 2^124) and an addend, exactly, then rounded once. */
function returnFused(soft: Soft, product: { sign: I; exponent: I; wide: Wide }, addend: Parts): void {
  const { code } = soft;
  const other: Wide = { high: addend.significand.shrU(2), low: soft.const64(0) };
  const swap = product.exponent.ltS(addend.exponent);
  const exponent = code.select(swap, addend.exponent, product.exponent);
  const distance = exponent.sub(code.select(swap, product.exponent, addend.exponent));
  const big = selectWide(swap, other, product.wide);
  const small = shiftRightJamWide(selectWide(swap, product.wide, other), distance);
  const differ = product.sign.xor(addend.sign);
  const less = lessWide(big, small);
  const difference = subtractWide(selectWide(less, small, big), selectWide(less, big, small));
  const total = selectWide(differ, difference, addWide(big, small));
  code.if(total.high.or(total.low).isZero(), () => code.return(soft.zero(code.select(differ, soft.zeroSumSign(), product.sign))));
  const zeros = leadingZerosWide(total).trunc(32);
  const shifted = shiftLeftWide(total, zeros.sub(1));
  const sign = code.select(swap, addend.sign, product.sign).xor(differ.and(less));
  returnRounded(soft, { sign, exponent: exponent.add(3).sub(zeros), significand: shifted.high.or(shifted.low.isNonzero().zext(64)) });
}

/** a × b + c with one rounding. The order of the operands is that in which NaNs win. */
const fusedMultiplyAdd = (format: Format): FunctionDefinition =>
  operation('fma', format, 3, (soft, a, b, c) => {
    const { code } = soft;
    const infinite = soft.isInfinite(a).or(soft.isInfinite(b));
    const zero = soft.isZero(a).or(soft.isZero(b));
    soft.propagate(a, b, c);
    const sign = soft.sign(a).xor(soft.sign(b));
    soft.invalidIf(infinite.and(zero));
    soft.invalidIf(infinite.and(soft.isInfinite(c)).and(sign.xor(soft.sign(c))));
    soft.noteDenormals(a, b, c);
    code.if(infinite, () => code.return(soft.zero(sign).or(soft.infinity)));
    code.if(soft.isInfinite(c), () => code.return(c));
    const [pa, pb] = [soft.unpack(a), soft.unpack(b)];
    const exponent = code.select(zero, soft.const32(-100000), pa.exponent.add(pb.exponent).sub(format.bias));
    returnFused(soft, { sign, exponent, wide: multiplyWide(pa.significand, pb.significand) }, soft.unpack(c));
  });

const both = (make: (format: Format) => FunctionDefinition): { readonly f32: FunctionDefinition; readonly f64: FunctionDefinition } => ({
  f32: make(SINGLE),
  f64: make(DOUBLE),
});

/** The exact operations, per format. */
export const exact = {
  add: both((f) => add(f, false)),
  sub: both((f) => add(f, true)),
  mul: both(multiply),
  div: both(divide),
  sqrt: both(squareRoot),
  fma: both(fusedMultiplyAdd),
} as const;
