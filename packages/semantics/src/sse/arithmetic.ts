import type { Val } from '@nestvm/emit';
import type { Context } from '../context.js';
import type { Emitter } from '../emitter.js';
import { exact } from '../float/arithmetic.js';
import { collectExceptions, commitExceptions, isQuiet } from '../float/commit.js';
import { extreme } from '../float/compare.js';
import { isKnownNumber, isNormal, isNotDenormal, LANES, Lanes, markNumber, overLanes, type Real } from '../float/lanes.js';
import { elements, range } from '../vector/lanes.js';
import { withVex } from '../vector/naming.js';
import { output, vectorAt } from '../vector/operand.js';

type V = Val<128>;

/** Keeps all but the lowest element of `kept`. */
export const mergeLow = (x: Context, real: Real, kept: V, low: V): V => {
  const size = 16 / LANES[real];
  return x.code.shuffle(elements(size, [LANES[real], ...range(LANES[real]).slice(1)]), kept, low);
};

/**
 * Chunks computed by a fast way when it can be trusted, else exactly, with exceptions. `likely`, where given, says sooner that it can; else `trusted` is asked.
 */
export function fastOrExact(x: Context, trusted: () => Val<32>, quick: readonly V[], slow: () => readonly V[], likely?: Val<32>): V[] {
  const { code, engine } = x;
  const { giveUp } = engine;
  if (giveUp) {
    const orGiveUp = (): void => code.rarely(trusted().isZero(), () => giveUp(x));
    if (likely) code.rarely(likely.isZero(), orGiveUp);
    else orGiveUp();
    return [...quick];
  }
  const results = quick.map((v) => code.variable(v));
  code.if((likely ? code.choose(likely, 32, () => x.const(32, 1), trusted) : trusted()).isZero(), () => {
    collectExceptions(x);
    const exactly = slow();
    commitExceptions(x);
    for (const [i, v] of exactly.entries()) results[i]!.set(v);
  });
  return results.map((r) => r.get());
}

/** What nearly always says that the fast result of a scalar operation can be trusted, in a few integer instructions: it is normal, and no operand denormal. */
function plainly(x: Context, real: Real, mxcsr: Val<32>, result: V, operands: readonly V[]): Val<32> {
  const { code } = x;
  const unknown = operands.filter((v) => !isKnownNumber(real, v));
  const checks = [isNormal(code, real, result), ...unknown.map((v) => isNotDenormal(code, real, v))];
  if (x.engine.giveUp) markNumber(real, result);
  return checks.reduce((a, b) => a.and(b), isQuiet(mxcsr));
}

/** 1 when a mask holds in all chunks. */
export function allHold(lanes: Lanes, masks: readonly V[], scalar: boolean): Val<32> {
  return masks.map((m) => lanes.holds(m, scalar)).reduce((a, b) => a.and(b));
}

/** The two sources of ADDPS and its kin: the last operand, and the one before it (the destination in legacy forms). */
function sources(x: Context): { a: readonly V[]; b: readonly V[] } {
  const last = x.facts.row.operands.length - 1;
  const b = vectorAt(x, last).read();
  return { a: vectorAt(x, last - 1).read(), b };
}

/** When the fast result of an operation can be trusted, given MXCSR is quiet. */
type Trust = (lanes: Lanes, result: V, a: V, b: V) => V;

const TRUST: Record<'add' | 'sub' | 'mul' | 'div', Trust> = {
  add: (l, r, a, b) => l.and(l.or(l.isSafe(r), l.isZero(r)), l.and(l.isPlain(a), l.isPlain(b))),
  sub: (l, r, a, b) => TRUST.add(l, r, a, b),
  mul: (l, r, a, b) => l.and(l.or(l.isSafe(r), l.and(l.isZero(r), l.or(l.isZero(a), l.isZero(b)))), l.and(l.isPlain(a), l.isPlain(b))),
  div: (l, r, a, b) => l.and(l.or(l.isSafe(r), l.and(l.isZero(r), l.isZero(a))), l.and(l.isPlain(a), l.isPlain(b))),
};

/** ADD, SUB, MUL, DIV. */
function arithmetic(name: keyof typeof TRUST, real: Real, scalar: boolean): Emitter {
  const slow = overLanes(real, exact[name][real], 2, scalar);
  return (x) => {
    const { code } = x;
    const { a, b } = sources(x);
    const lanes = new Lanes(code, real);
    const mxcsr = x.get32('mxcsr');
    const quick = a.map((v, i) => lanes.op(name, v, b[i] as V));
    const trusted = (): Val<32> => {
      const masks = quick.map((r, i) => TRUST[name](lanes, r, a[i] as V, b[i] as V));
      return isQuiet(mxcsr).and(allHold(lanes, masks, scalar));
    };
    const likely = scalar ? plainly(x, real, mxcsr, quick[0] as V, [a[0] as V, b[0] as V]) : undefined;
    const shown = scalar ? [mergeLow(x, real, a[0] as V, quick[0] as V)] : quick;
    output(x).write(fastOrExact(x, trusted, shown, () => a.map((v, i) => code.call(slow, 128, v, b[i] as V, mxcsr, x.cpu)), likely));
  };
}

/** SQRT: one source, and for scalars the vector whose upper elements stay. */
function squareRoot(real: Real, scalar: boolean): Emitter {
  const slow = overLanes(real, exact.sqrt[real], 1, scalar);
  return (x) => {
    const { code } = x;
    const { operands } = x.facts.row;
    const source = vectorAt(x, operands.length - 1).read();
    const kept = scalar ? (vectorAt(x, operands.length - 2).read()[0] as V) : null;
    const lanes = new Lanes(code, real);
    const mxcsr = x.get32('mxcsr');
    const quick = source.map((v) => lanes.op('sqrt', v));
    const trusted = (): Val<32> => {
      const masks = quick.map((r, i) => lanes.and(lanes.or(lanes.isSafe(r), lanes.isZero(r)), lanes.isPlain(source[i] as V)));
      return isQuiet(mxcsr).and(allHold(lanes, masks, scalar));
    };
    const likely = scalar ? plainly(x, real, mxcsr, quick[0] as V, [source[0] as V]) : undefined;
    const merged = (v: V): V => (kept ? mergeLow(x, real, kept, v) : v);
    output(x).write(fastOrExact(x, trusted, quick.map(merged), () => source.map((v) => merged(code.call(slow, 128, v, mxcsr, x.cpu))), likely));
  };
}

/** MIN, MAX: the second source when they are equal, both zero, or not comparable; rounding takes no part. */
function extremum(name: 'min' | 'max', real: Real, scalar: boolean): Emitter {
  const slow = overLanes(real, extreme(name, real), 2, scalar);
  return (x) => {
    const { code } = x;
    const { a, b } = sources(x);
    const lanes = new Lanes(code, real);
    const quick = a.map((v, i) => lanes.op(`p${name}`, b[i] as V, v));
    const fast = allHold(
      lanes,
      a.map((v, i) => lanes.and(lanes.isPlain(v), lanes.isPlain(b[i] as V))),
      scalar,
    );
    const shown = scalar ? [mergeLow(x, real, a[0] as V, quick[0] as V)] : quick;
    output(x).write(
      fastOrExact(
        x,
        () => fast,
        shown,
        () => a.map((v, i) => code.call(slow, 128, v, b[i] as V, x.get32('mxcsr'), x.cpu)),
      ),
    );
  };
}

/** Neighbours of both sources side by side: the left ones, the right ones. */
function pairs(x: Context, real: Real, a: V, b: V): [V, V] {
  const n = LANES[real];
  const take = (odd: number): V =>
    x.code.shuffle(
      elements(
        16 / n,
        range(n).map((i) => 2 * i + odd),
      ),
      a,
      b,
    );
  return [take(0), take(1)];
}

/** Exact addition or subtraction of whole chunks; for ADDSUB the even elements are subtracted. */
function viaAddition(real: Real, kind: 'add' | 'sub' | 'addsub', split: boolean): Emitter {
  const adder = overLanes(real, exact.add[real], 2, false);
  const subtracter = overLanes(real, exact.sub[real], 2, false);
  return (x) => {
    const { code } = x;
    const { a, b } = sources(x);
    const mxcsr = x.get32('mxcsr');
    const lanes = new Lanes(code, real);
    const left = a.map((v, i) => (split ? pairs(x, real, v, b[i] as V) : ([v, b[i] as V] as const)));
    const combine = (p: V, q: V): V => {
      if (kind !== 'addsub') return lanes.op(kind, p, q);
      return evens(x, real, lanes.op('sub', p, q), lanes.op('add', p, q));
    };
    const quick = left.map(([p, q]) => combine(p, q));
    const fast = isQuiet(mxcsr).and(
      allHold(
        lanes,
        left.map(([p, q], i) => TRUST.add(lanes, quick[i] as V, p, q)),
        false,
      ),
    );
    const slowly = (p: V, q: V): V => {
      if (kind === 'add') return code.call(adder, 128, p, q, mxcsr, x.cpu);
      return code.call(kind === 'sub' ? subtracter : adder, 128, p, kind === 'sub' ? q : negateEvens(x, real, q), mxcsr, x.cpu);
    };
    output(x).write(
      fastOrExact(
        x,
        () => fast,
        quick,
        () => left.map(([p, q]) => slowly(p, q)),
      ),
    );
  };
}

/** Even elements of a, odd ones of b. */
const evens = (x: Context, real: Real, a: V, b: V): V =>
  x.code.shuffle(
    elements(
      16 / LANES[real],
      range(LANES[real]).map((i) => (i & 1 ? i + LANES[real] : i)),
    ),
    a,
    b,
  );

/** Signs of the even elements flipped, except of NaNs (which come out as they are). */
function negateEvens(x: Context, real: Real, value: V): V {
  const lanes = new Lanes(x.code, real);
  const flipped = x.code.op('v128.and', 128, lanes.op('neg', value), lanes.op('eq', value, value));
  const negated = x.code.op('v128.or', 128, flipped, x.code.op('v128.andnot', 128, value, lanes.op('eq', value, value)));
  return evens(x, real, negated, value);
}

const SUFFIXES = [
  ['PS', 'f32', false],
  ['PD', 'f64', false],
  ['SS', 'f32', true],
  ['SD', 'f64', true],
] as const;

const perFormat = (name: string, make: (real: Real, scalar: boolean) => Emitter): Record<string, Emitter> =>
  Object.fromEntries(SUFFIXES.map(([suffix, real, scalar]) => [name + suffix, make(real, scalar)]));

/** Arithmetic of SSE, SSE2, SSE3 and AVX. */
export const arithmeticMeanings = withVex({
  ...perFormat('ADD', (r, s) => arithmetic('add', r, s)),
  ...perFormat('SUB', (r, s) => arithmetic('sub', r, s)),
  ...perFormat('MUL', (r, s) => arithmetic('mul', r, s)),
  ...perFormat('DIV', (r, s) => arithmetic('div', r, s)),
  ...perFormat('SQRT', squareRoot),
  ...perFormat('MIN', (r, s) => extremum('min', r, s)),
  ...perFormat('MAX', (r, s) => extremum('max', r, s)),
  HADDPS: viaAddition('f32', 'add', true),
  HADDPD: viaAddition('f64', 'add', true),
  HSUBPS: viaAddition('f32', 'sub', true),
  HSUBPD: viaAddition('f64', 'sub', true),
  ADDSUBPS: viaAddition('f32', 'addsub', false),
  ADDSUBPD: viaAddition('f64', 'addsub', false),
});
