import { defineFunction, type FunctionDefinition, type Val } from '@nestvm/emit';
import type { Context } from '../context.js';
import type { Emitter } from '../emitter.js';
import { commitExceptions, exactlyUnless } from '../float/commit.js';
import { Relation, relation } from '../float/compare.js';
import { LANES, Lanes, laneBits, type Real, withLaneBits } from '../float/lanes.js';
import { known } from '../vector/lanes.js';
import { withVex } from '../vector/naming.js';
import { output, vectorAt } from '../vector/operand.js';
import { allHold, fastOrExact, mergeLow } from './arithmetic.js';

type V = Val<128>;

/** Relations (bits: less, equal, greater, unordered) for which each predicate 0-15 holds; 16-31 are the same with the other QNaN rule (SDM Vol. 2, "VCMPPD"). */
const HOLDS = [2, 1, 3, 8, 13, 14, 12, 7, 10, 9, 11, 0, 5, 6, 4, 15];
/** Predicates 0-15 that are invalid for quiet NaNs. */
const SIGNALS = [0, 1, 1, 0, 0, 1, 1, 0, 0, 1, 1, 0, 0, 1, 1, 0];
const BITS_HOLD = HOLDS.reduce((sum, bits, i) => sum | (BigInt(bits) << BigInt(4 * i)), 0n);
const BITS_SIGNAL = SIGNALS.reduce((sum, bit, i) => sum | (bit << i), 0);

/** Compares elements exactly: (a, b, predicate, mxcsr, cpu) → mask vector (upper elements of a, for the scalar one). */
const compareLanes = (real: Real, scalar: boolean): FunctionDefinition => {
  const target = relation(real);
  return defineFunction(`${real}.cmp.${scalar ? 's' : 'p'}`, { params: ['v128', 'v128', 'i32', 'i32', 'i32'], results: ['v128'] }, (code) => {
    const [a, b, predicate] = [code.param(0, 128), code.param(1, 128), code.param(2, 32)];
    const holds = code.constant(64, BITS_HOLD).shrU(predicate.and(15).shl(2)).trunc(32);
    const signaling = code.constant(32, BITS_SIGNAL).shrU(predicate.and(15)).xor(predicate.shrU(4)).and(1);
    let result = a;
    for (let lane = 0; lane < (scalar ? 1 : LANES[real]); lane++) {
      const found = code.call(
        target,
        32,
        laneBits(code, real, lane, a),
        laneBits(code, real, lane, b),
        signaling,
        code.param(3, 32),
        code.param(4, 32),
      );
      result = withLaneBits(code, real, lane, result, found.and(holds).isNonzero().zext(64).neg());
    }
    code.return(result);
  });
};

/** CMPPS and its kin. Legacy predicates are three bits, VEX ones five. */
function compare(real: Real, scalar: boolean): Emitter {
  const slow = compareLanes(real, scalar);
  return (x) => {
    const { code } = x;
    const last = x.facts.row.operands.length - 2;
    const b = vectorAt(x, last).read();
    const a = vectorAt(x, last - 1).read();
    const lanes = new Lanes(code, real);
    const predicate = x.fields.immediate32().and(x.facts.row.encoding === 'legacy' ? 7 : 31);
    const plain = a.map((v, i) => lanes.and(lanes.isPlain(v), lanes.isPlain(b[i] as V)));
    const quick = a.map((v, i) => quickly(x, lanes, predicate, v, b[i] as V));
    const shown = scalar ? [mergeLow(x, real, a[0] as V, quick[0] as V)] : quick;
    output(x).write(
      fastOrExact(
        x,
        () => allHold(lanes, plain, scalar),
        shown,
        () => a.map((v, i) => code.call(slow, 128, v, b[i] as V, predicate, x.get32('mxcsr'), x.cpu)),
      ),
    );
  };
}

/** The predicate over plain numbers. */
function quickly(x: Context, lanes: Lanes, predicate: Val<32>, a: V, b: V): V {
  const { code } = x;
  const constant = known(predicate);
  const masks = [lanes.op('lt', a, b), lanes.op('eq', a, b), lanes.op('gt', a, b)];
  const zero = code.constant128(new Uint8Array(16));
  const holds = code.constant(64, BITS_HOLD).shrU(predicate.and(15).shl(2)).trunc(32);
  const parts = masks.flatMap((mask, bit) => {
    if (constant !== null) return (HOLDS[constant & 15]! >> bit) & 1 ? [mask] : [];
    return [code.select(holds.and(1 << bit), mask, zero)];
  });
  return parts.reduce((p, q) => code.op('v128.or', 128, p, q), zero);
}

/** COMISx and UCOMISx: ZF PF CF are 000 greater, 001 less, 100 equal, 111 unordered. */
function compareFlags(real: Real, signaling: boolean): Emitter {
  const slow = relation(real);
  return (x) => {
    const { code } = x;
    const b = vectorAt(x, 1).read()[0] as V;
    const a = vectorAt(x, 0).read()[0] as V;
    const lanes = new Lanes(code, real);
    const fast = lanes.holds(lanes.and(lanes.isPlain(a), lanes.isPlain(b)), true);
    const [p, q] = [a, b].map((v) => code.lane(`${real}x${LANES[real]}.extract_lane`, real, 0, v)) as [Val<Real>, Val<Real>];
    const quick = code.op(`${real}.lt`, 32, p, q).or(code.op(`${real}.eq`, 32, p, q).shl(1));
    const found = code.variable(quick);
    exactlyUnless(x, fast, () => {
      const exactly = code.call(
        slow,
        32,
        laneBits(code, real, 0, a),
        laneBits(code, real, 0, b),
        x.const(32, signaling ? 1 : 0),
        x.get32('mxcsr'),
        x.cpu,
      );
      commitExceptions(x);
      found.set(exactly);
    });
    const result = found.get();
    const unordered = result.shrU(3);
    const zero = x.const(32, 0);
    x.flags.set({
      cf: result.and(Relation.LESS).or(unordered),
      zf: result.shrU(1).and(1).or(unordered),
      pf: unordered,
      af: zero,
      sf: zero,
      of: zero,
    });
  };
}

/** Comparisons of SSE, SSE2 and AVX. */
export const compareMeanings = withVex({
  CMPPS: compare('f32', false),
  CMPPD: compare('f64', false),
  CMPSS: compare('f32', true),
  CMPSD: compare('f64', true),
  COMISS: compareFlags('f32', true),
  COMISD: compareFlags('f64', true),
  UCOMISS: compareFlags('f32', false),
  UCOMISD: compareFlags('f64', false),
});
