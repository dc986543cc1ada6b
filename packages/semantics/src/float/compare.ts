import { defineFunction, type FunctionDefinition, type Val } from '@nestvm/emit';
import { DOUBLE, Flag, SINGLE, Soft } from './format.js';
import type { Real } from './lanes.js';

type Q = Val<64>;
const FORMAT = { f32: SINGLE, f64: DOUBLE } as const;

/** 1 when a < b; neither is NaN. */
function less(soft: Soft, a: Q, b: Q): Val<32> {
  // Sign and magnitude to two's complement; both zeros become 0.
  const ordered = (v: Q): Q => soft.code.select(soft.sign(v), soft.magnitude(v).neg(), soft.magnitude(v));
  return ordered(a).ltS(ordered(b));
}

/** MIN or MAX of two elements: (a, b, mxcsr, cpu). Any NaN is invalid and gives b. */
export const extreme = (name: 'min' | 'max', real: Real): FunctionDefinition =>
  defineFunction(`${real}.${name}`, { params: ['i64', 'i64', 'i32', 'i32'], results: ['i64'] }, (code) => {
    const soft = new Soft(code, FORMAT[real], code.param(2, 32), code.param(3, 32));
    const [a, b] = [soft.operand(code.param(0, 64)), soft.operand(code.param(1, 64))];
    code.if(soft.isNaN(a).or(soft.isNaN(b)), () => {
      soft.raise(Flag.INVALID);
      code.return(b);
    });
    soft.noteDenormals(a, b);
    code.return(code.select(name === 'min' ? less(soft, a, b) : less(soft, b, a), a, b));
  });

/** Outcome of a comparison: bit 0 less, bit 1 equal, bit 2 greater, bit 3 unordered. */
export const Relation = { LESS: 1, EQUAL: 2, GREATER: 4, UNORDERED: 8 } as const;

/** Compares two elements: (a, b, signaling, mxcsr, cpu) → relation; a quiet NaN is invalid too when `signaling`. */
export const relation = (real: Real): FunctionDefinition =>
  defineFunction(`${real}.compare`, { params: ['i64', 'i64', 'i32', 'i32', 'i32'], results: ['i32'] }, (code) => {
    const soft = new Soft(code, FORMAT[real], code.param(3, 32), code.param(4, 32));
    const [a, b] = [soft.operand(code.param(0, 64)), soft.operand(code.param(1, 64))];
    code.if(soft.isNaN(a).or(soft.isNaN(b)), () => {
      soft.raise(soft.isSignaling(a).or(soft.isSignaling(b)).or(code.param(2, 32)));
      code.return(code.constant(32, Relation.UNORDERED));
    });
    soft.noteDenormals(a, b);
    const [below, above] = [less(soft, a, b), less(soft, b, a)];
    code.return(below.or(above.shl(2)).or(below.or(above).xor(1).shl(1)));
  });
