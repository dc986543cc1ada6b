import { describe, expect, it } from 'vitest';
import { add, DOUBLE, divide, type Float80, multiply, narrow, squareRoot, subtract, widen } from './float80.js';

const rounding = { precision: 53, control: 0, masks: 63 };
const bitsOf = (x: number): bigint => new BigUint64Array(new Float64Array([x]).buffer)[0]!;
const load = (x: number): Float80 => widen(bitsOf(x), DOUBLE).value;
const store = (f: Float80): number => new Float64Array(new BigUint64Array([BigInt.asUintN(64, narrow(f, DOUBLE, 0).bits)]).buffer)[0]!;

/** A small generator of its own, so that a failure repeats. */
function generator(seed: number): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
}

const EDGES = [0, -0, 1, -1, Infinity, -Infinity, NaN, 5e-324, 2.2250738585072014e-308, 1.797e308];

describe('double-extended arithmetic at 53 bits', () => {
  it('agrees with the host on doubles', () => {
    const random = generator(7);
    const next = (): number =>
      random() < 0.1 ? EDGES[Math.floor(random() * EDGES.length)]! : (random() - 0.5) * 2 ** Math.floor((random() - 0.5) * 600);
    const wrong: string[] = [];
    for (let i = 0; i < 4000; i++) {
      const [a, b] = [next(), next()];
      const cases: [number, number][] = [
        [store(add(load(a), load(b), rounding).value), a + b],
        [store(subtract(load(a), load(b), rounding).value), a - b],
        [store(multiply(load(a), load(b), rounding).value), a * b],
        [store(divide(load(a), load(b), rounding).value), a / b],
        [store(squareRoot(load(a), rounding).value), Math.sqrt(a)],
      ];
      // Below the normal range of doubles the register's wider exponent rounds twice.
      for (const [ours, theirs] of cases)
        if (!(Math.abs(theirs) < 1e-290 && theirs !== 0) && !Object.is(ours, theirs)) wrong.push(`${a} ${b}: ${ours}, not ${theirs}`);
    }
    expect(wrong).toEqual([]);
  });
});
