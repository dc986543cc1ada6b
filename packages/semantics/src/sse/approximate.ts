import { defineFunction, type FunctionDefinition, type Val } from '@nestvm/emit';
import type { Emitter } from '../emitter.js';
import { laneBits, withLaneBits } from '../float/lanes.js';
import { range } from '../vector/lanes.js';
import { withVex } from '../vector/naming.js';
import { output, vectorAt } from '../vector/operand.js';

type V = Val<128>;

/** Single-precision bits with the top twelve fraction bits kept and a half of the last of them added: the middle of what a table row covers. */
const middle = (bits: Val<32>): Val<32> => bits.and(~0x7ff).or(0x400);

/**
 * RCP and RSQRT of one element: (bits) → bits. No exceptions; denormals count as zero, and results below the normal range are zero. Processors
 * differ within the documented relative error of 1.5 × 2^-12; here the result is that of the middle of the input's 12-bit interval, rounded to 12
 * fraction bits (relative error at most 1.5 × 2^-13).
 */
const approximation = (name: 'rcp' | 'rsqrt'): FunctionDefinition =>
  defineFunction(`f32.${name}`, { params: ['i32'], results: ['i32'] }, (code) => {
    const bits = code.param(0, 32);
    const sign = bits.and(0x80000000 | 0);
    const magnitude = bits.and(0x7fffffff);
    code.if(magnitude.gtU(0x7f800000), () => code.return(bits.or(0x00400000)));
    code.if(magnitude.ltU(0x00800000), () => code.return(sign.or(0x7f800000)));
    if (name === 'rsqrt') code.if(sign, () => code.return(code.constant(32, 0xffc00000)));
    code.if(magnitude.eq(0x7f800000), () => code.return(sign));
    const value = code.op('f64.promote_f32', 'f64', code.op('f32.reinterpret_i32', 'f32', middle(magnitude)));
    const divisor = name === 'rcp' ? value : code.op('f64.sqrt', 'f64', value);
    const exact = code.op('i64.reinterpret_f64', 64, code.op('f64.div', 'f64', code.constant('f64', 1), divisor));
    const rounded = exact.add(1n << 39n).and(-(1n << 40n));
    const result = code.op('i32.reinterpret_f32', 32, code.op('f32.demote_f64', 'f32', code.op('f64.reinterpret_i64', 'f64', rounded)));
    code.return(code.select(result.ltU(0x00800000), code.constant(32, 0), result).or(sign));
  });

/** RCPPS, RSQRTPS and their scalar forms. */
const approximate =
  (target: FunctionDefinition, scalar: boolean): Emitter =>
  (x) => {
    const { code } = x;
    const { operands } = x.facts.row;
    const source = vectorAt(x, operands.length - 1).read();
    const one = (v: V, lane: number): Val<64> => code.call(target, 32, laneBits(code, 'f32', lane, v).trunc(32)).zext(64);
    if (scalar) {
      const kept = vectorAt(x, operands.length - 2).read()[0] as V;
      return output(x).write([withLaneBits(code, 'f32', 0, kept, one(source[0] as V, 0))]);
    }
    output(x).write(source.map((v) => range(4).reduce((into, lane) => withLaneBits(code, 'f32', lane, into, one(v, lane)), v)));
  };

const reciprocal = approximation('rcp');
const reciprocalRoot = approximation('rsqrt');

/** Approximations of SSE and AVX. */
export const approximateMeanings = withVex({
  RCPPS: approximate(reciprocal, false),
  RCPSS: approximate(reciprocal, true),
  RSQRTPS: approximate(reciprocalRoot, false),
  RSQRTSS: approximate(reciprocalRoot, true),
});
