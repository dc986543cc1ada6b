import { type Code, defineFunction, type Val } from '@nestvm/emit';
import { qword, range, replace64, splatConstant } from '../vector/lanes.js';
import { withVex } from '../vector/naming.js';
import { packed } from '../vector/packed.js';

type Q = Val<64>;

/**
 * Low 64 bits of a carry-less product by integer multiplication: each factor is split by bit position modulo 4, so that the carries
 * of sixteen added ones end before the next bit of the same class.
 */
function multiplyLow(code: Code, a: Q, b: Q): Q {
  const masks = range(4).map((i) => 0x1111111111111111n << BigInt(i));
  const [as, bs] = [masks.map((m) => a.and(m)), masks.map((m) => b.and(m))];
  let result: Q = code.constant(64, 0);
  for (const k of range(4)) {
    let sum: Q | undefined;
    for (const i of range(4)) {
      const product = as[i]!.mul(bs[(k - i) & 3]!);
      sum = sum === undefined ? product : sum.xor(product);
    }
    result = result.or(sum!.and(masks[k]!));
  }
  return result;
}

/** The bits in reverse order. */
function reverseBits(value: Q): Q {
  let result = value;
  for (const [shift, mask] of [
    [1, 0x5555555555555555n],
    [2, 0x3333333333333333n],
    [4, 0x0f0f0f0f0f0f0f0fn],
    [8, 0x00ff00ff00ff00ffn],
    [16, 0x0000ffff0000ffffn],
  ] as const) {
    result = result.shrU(shift).and(mask).or(result.and(mask).shl(shift));
  }
  return result.rotl(32);
}

const multiplyCarryless = defineFunction('clmul', { params: ['i64', 'i64'], results: ['i64'] }, (code) =>
  code.return(multiplyLow(code, code.param(0, 64), code.param(1, 64))),
);
const reverse = defineFunction('reverse64', { params: ['i64'], results: ['i64'] }, (code) => code.return(reverseBits(code.param(0, 64))));

/** PCLMULQDQ: a qword of each source, chosen by bits 0 and 4 of the immediate, multiplied without carries; the high half by way of reversed factors. */
export const carrylessMeanings = withVex({
  PCLMULQDQ: packed((x, a, b) => {
    const { code } = x;
    const control = x.fields.immediate32();
    const left = code.select(control.and(1), qword(x, 1, a), qword(x, 0, a));
    const right = code.select(control.and(0x10), qword(x, 1, b), qword(x, 0, b));
    const low = code.call(multiplyCarryless, 64, left, right);
    const reversed = code.call(multiplyCarryless, 64, code.call(reverse, 64, left), code.call(reverse, 64, right));
    const high = code.call(reverse, 64, reversed).shrU(1);
    return replace64(x, 1, replace64(x, 0, splatConstant(x, 32, 0), low), high);
  }),
});
