import type { Val } from '@nestvm/emit';
import type { Emitter } from '../emitter.js';
import { exact } from '../float/arithmetic.js';
import { collectExceptions, commitExceptions } from '../float/commit.js';
import { LANES, laneBits, type Real, withLaneBits } from '../float/lanes.js';
import { output, vectorAt } from '../vector/operand.js';

type V = Val<128>;

/** Which operands (1-3) are the factors and the addend. */
const ORDERS = { 132: [0, 2, 1], 213: [1, 0, 2], 231: [1, 2, 0] } as const;
/** Signs that are flipped: of the product, of the addend in even and in odd elements. */
const KINDS = {
  VFMADD: [0, 0, 0],
  VFMSUB: [0, 1, 1],
  VFNMADD: [1, 0, 0],
  VFNMSUB: [1, 1, 1],
  VFMADDSUB: [0, 1, 0],
  VFMSUBADD: [0, 0, 1],
} as const;

/** A fused multiply-add: NaNs win in the order of the operands' numbers; flipped signs do not touch them. */
function fused(kind: keyof typeof KINDS, order: keyof typeof ORDERS, real: Real, scalar: boolean): Emitter {
  const target = exact.fma[real];
  const [flipProduct, flipEven, flipOdd] = KINDS[kind];
  const places = ORDERS[order];
  return (x) => {
    const { code } = x;
    const operands = [2, 1, 0].map((i) => vectorAt(x, i).read()).reverse();
    const mxcsr = x.get32('mxcsr');
    const infinity = real === 'f64' ? 0x7ff0000000000000n : 0x7f800000n;
    const signBit = real === 'f64' ? 1n << 63n : 1n << 31n;
    const flip = (value: Val<64>): Val<64> => code.select(value.and(signBit - 1n).gtU(infinity), value, value.xor(signBit));
    collectExceptions(x);
    const results = operands[0]!.map((first, chunk) => {
      let result = first;
      for (let lane = 0; lane < (scalar ? 1 : LANES[real]); lane++) {
        const [a, b, c] = places.map((p) => laneBits(code, real, lane, operands[p]![chunk] as V)) as [Val<64>, Val<64>, Val<64>];
        const flipAddend = lane & 1 ? flipOdd : flipEven;
        const bits = code.call(target, 64, flipProduct ? flip(a) : a, b, flipAddend ? flip(c) : c, mxcsr, x.cpu);
        result = withLaneBits(code, real, lane, result, bits);
      }
      return result;
    });
    commitExceptions(x);
    // A scalar's destination is 128 bits, whatever the row calls it.
    output(x).write(results);
  };
}

function all(): Record<string, Emitter> {
  const meanings: Record<string, Emitter> = {};
  for (const kind of Object.keys(KINDS) as (keyof typeof KINDS)[]) {
    for (const order of [132, 213, 231] as const) {
      for (const real of ['f32', 'f64'] as const) {
        const letter = real === 'f32' ? 'S' : 'D';
        meanings[`${kind}${order}P${letter}`] = fused(kind, order, real, false);
        if (!kind.endsWith('SUB') || kind.endsWith('MSUB'))
          if (kind !== 'VFMSUBADD') meanings[`${kind}${order}S${letter}`] = fused(kind, order, real, true);
      }
    }
  }
  return meanings;
}

/** Fused multiply-add (SDM Vol. 1, "Fused-Multiply-ADD (FMA) Extensions"). */
export const fusedMeanings = all();
