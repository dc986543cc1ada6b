import type { Val } from '@nestvm/emit';
import type { Emitter } from '../emitter.js';
import { exact } from '../float/arithmetic.js';
import { collectExceptions, commitExceptions } from '../float/commit.js';
import { LANES, laneBits, type Real, withLaneBits } from '../float/lanes.js';
import { range } from '../vector/lanes.js';
import { withVex } from '../vector/naming.js';
import { output, vectorAt, zero128 } from '../vector/operand.js';

type V = Val<128>;
type Q = Val<64>;

/** Dot products: elements chosen by bits 7:4 of the immediate are multiplied and summed pairwise; bits 3:0 say which places get the sum, others 0. */
const dot =
  (real: Real): Emitter =>
  (x) => {
    const { code } = x;
    const b = vectorAt(x, x.facts.row.operands.length - 2).read();
    const a = vectorAt(x, x.facts.row.operands.length - 3).read();
    const control = x.fields.immediate32();
    const mxcsr = x.get32('mxcsr');
    const zero = x.const(64, 0);
    const add = (p: Q, q: Q): Q => code.call(exact.add[real], 64, p, q, mxcsr, x.cpu);
    // Products, sums of pairs, and the sum of those: each step reports its exceptions before the next one begins.
    const step = (values: () => Q[][]): Q[][] => {
      collectExceptions(x);
      const results = values();
      commitExceptions(x);
      return results;
    };
    let sums = step(() =>
      a.map((v, chunk) =>
        range(LANES[real]).map((lane) =>
          code.choose(
            control.shrU(4 + lane).and(1),
            64,
            () => code.call(exact.mul[real], 64, laneBits(code, real, lane, v), laneBits(code, real, lane, b[chunk] as V), mxcsr, x.cpu),
            () => zero,
          ),
        ),
      ),
    );
    while (sums[0]!.length > 1) {
      const parts = sums;
      sums = step(() => parts.map((values) => range(values.length / 2).map((i) => add(values[2 * i]!, values[2 * i + 1]!))));
    }
    output(x).write(
      sums.map(([sum]) =>
        range(LANES[real]).reduce(
          (into, lane) => withLaneBits(code, real, lane, into, code.select(control.shrU(lane).and(1), sum!, zero)),
          zero128(x),
        ),
      ),
    );
  };

/** Dot products of SSE4.1 and AVX. */
export const dotMeanings = withVex({ DPPS: dot('f32'), DPPD: dot('f64') });
