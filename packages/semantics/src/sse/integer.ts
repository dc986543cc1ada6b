import type { Val } from '@nestvm/emit';
import type { Context } from '../context.js';
import type { Emitter } from '../emitter.js';
import { elements, pick, range, splatConstant } from '../vector/lanes.js';
import { withVex } from '../vector/naming.js';
import { type Binary, packed, packedOp, packedOpReversed, packedUnary } from '../vector/packed.js';

type V = Val<128>;
const op = (x: Context, name: string, ...args: Val[]): V => x.code.op(name, 128, ...args);

/** Dwords 0 and 2 side by side: what 64-bit forms keep of a 128-bit result made of two halves. */
const compress = (x: Context, value: V): V => pick(x, 4, [0, 2, 0, 2], value);

/** A body whose MMX form keeps dwords 0 and 2 of the 128-bit result. */
export const halved = (body: Binary): Emitter => packed(body, (x, a, b, i) => compress(x, body(x, a, b, i)));

/** High halves of 16-bit products. */
const mulHigh =
  (sign: 's' | 'u'): Binary =>
  (x, a, b) => {
    const low = op(x, `i32x4.extmul_low_i16x8_${sign}`, a, b);
    const high = op(x, `i32x4.extmul_high_i16x8_${sign}`, a, b);
    return pick(x, 2, [1, 3, 5, 7, 9, 11, 13, 15], low, high);
  };

/** 64-bit products of the even dwords. */
const mulEven =
  (sign: 's' | 'u'): Binary =>
  (x, a, b) => {
    const even = (v: V): V => pick(x, 4, [0, 2, 0, 2], v);
    return op(x, `i64x2.extmul_low_i32x4_${sign}`, even(a), even(b));
  };

/** Rounded high products: ((a*b >> 14) + 1) >> 1; -1 * -1 wraps where WebAssembly's Q15 product saturates. */
const mulRounded: Binary = (x, a, b) => {
  const least = splatConstant(x, 16, 0x8000);
  const both = op(x, 'v128.and', op(x, 'i16x8.eq', a, least), op(x, 'i16x8.eq', b, least));
  return op(x, 'v128.xor', op(x, 'i16x8.q15mulr_sat_s', a, b), both);
};

/** Unsigned bytes of a times signed bytes of b, neighbours added with saturation. */
const mulAddBytes: Binary = (x, a, b) => {
  const eight = x.const(32, 8);
  const even = op(x, 'i16x8.mul', op(x, 'v128.and', a, splatConstant(x, 16, 0xff)), op(x, 'i16x8.shr_s', op(x, 'i16x8.shl', b, eight), eight));
  const odd = op(x, 'i16x8.mul', op(x, 'i16x8.shr_u', a, eight), op(x, 'i16x8.shr_s', b, eight));
  return op(x, 'i16x8.add_sat_s', even, odd);
};

/** Sums of absolute differences of eight bytes each. */
const sumDifferences: Binary = (x, a, b) => {
  const difference = op(x, 'i8x16.sub', op(x, 'i8x16.max_u', a, b), op(x, 'i8x16.min_u', a, b));
  const sums = op(x, 'i32x4.extadd_pairwise_i16x8_u', op(x, 'i16x8.extadd_pairwise_i8x16_u', difference));
  return op(x, 'v128.and', op(x, 'i64x2.add', sums, op(x, 'i64x2.shr_u', sums, x.const(32, 32))), splatConstant(x, 64, 0xffffffff));
};

/** Neighbours combined: those of a make the lower half, those of b the upper. */
const horizontal =
  (size: 2 | 4, name: string): Binary =>
  (x, a, b) => {
    const n = 32 / size;
    return op(
      x,
      name,
      x.code.shuffle(
        elements(
          size,
          range(n / 2).map((i) => 2 * i),
        ),
        a,
        b,
      ),
      x.code.shuffle(
        elements(
          size,
          range(n / 2).map((i) => 2 * i + 1),
        ),
        a,
        b,
      ),
    );
  };

/** a with the sign of b applied: negated, kept, or 0. */
const sign =
  (shape: string, bits: number): Binary =>
  (x, a, b) => {
    const negative = op(x, `${shape}.shr_s`, b, x.const(32, bits - 1));
    const applied = op(x, `${shape}.sub`, op(x, 'v128.xor', a, negative), negative);
    return op(x, 'v128.andnot', applied, op(x, `${shape}.eq`, b, splatConstant(x, 32, 0)));
  };

const SHAPES = { B: 'i8x16', W: 'i16x8', D: 'i32x4', Q: 'i64x2' } as const;

/** Instructions that differ by element size only: the WebAssembly name per size letter. */
function family(prefix: string, sizes: string, operation: string, make: (name: string) => Emitter = packedOp): Record<string, Emitter> {
  return Object.fromEntries(sizes.split('').map((s) => [prefix + s, make(`${SHAPES[s as keyof typeof SHAPES]}.${operation}`)]));
}

/** Least of eight unsigned words and its position. */
const leastWord: Emitter = packedUnary((x, a) => {
  let best: Val<32> | undefined;
  for (const i of range(8)) {
    // The position in the low bits breaks ties for the lower one.
    const candidate = x.code.lane('i16x8.extract_lane_u', 32, i, a).shl(16).or(i);
    best = best === undefined ? candidate : x.code.select(best.ltU(candidate), best, candidate);
  }
  return x.code.lane('i32x4.replace_lane', 128, 0, splatConstant(x, 32, 0), best!.rotl(16));
});

/** Packed integer arithmetic, comparison and logic of MMX, SSE2, SSSE3, SSE4 and their VEX forms (SDM Vol. 1, chapter 5). */
export const integerMeanings = withVex({
  ...family('PADD', 'BWDQ', 'add'),
  ...family('PSUB', 'BWDQ', 'sub'),
  ...family('PADDS', 'BW', 'add_sat_s'),
  ...family('PADDUS', 'BW', 'add_sat_u'),
  ...family('PSUBS', 'BW', 'sub_sat_s'),
  ...family('PSUBUS', 'BW', 'sub_sat_u'),
  ...family('PCMPEQ', 'BWDQ', 'eq'),
  ...family('PCMPGT', 'BWDQ', 'gt_s'),
  ...family('PMINS', 'BWD', 'min_s'),
  ...family('PMAXS', 'BWD', 'max_s'),
  ...family('PMINU', 'BWD', 'min_u'),
  ...family('PMAXU', 'BWD', 'max_u'),
  ...family('PAVG', 'BW', 'avgr_u'),
  ...family('PABS', 'BWD', 'abs', (name) => packedUnary((x, a) => op(x, name, a))),
  PSIGNB: packed(sign('i8x16', 8)),
  PSIGNW: packed(sign('i16x8', 16)),
  PSIGND: packed(sign('i32x4', 32)),
  PMULLW: packedOp('i16x8.mul'),
  PMULLD: packedOp('i32x4.mul'),
  PMULHW: packed(mulHigh('s')),
  PMULHUW: packed(mulHigh('u')),
  PMULHRSW: packed(mulRounded),
  PMULUDQ: packed(mulEven('u')),
  PMULDQ: packed(mulEven('s')),
  PMADDWD: packedOp('i32x4.dot_i16x8_s'),
  PMADDUBSW: packed(mulAddBytes),
  PSADBW: packed(sumDifferences),
  PHADDW: halved(horizontal(2, 'i16x8.add')),
  PHADDD: halved(horizontal(4, 'i32x4.add')),
  PHADDSW: halved(horizontal(2, 'i16x8.add_sat_s')),
  PHSUBW: halved(horizontal(2, 'i16x8.sub')),
  PHSUBD: halved(horizontal(4, 'i32x4.sub')),
  PHSUBSW: halved(horizontal(2, 'i16x8.sub_sat_s')),
  PHMINPOSUW: leastWord,
  PAND: packedOp('v128.and'),
  POR: packedOp('v128.or'),
  PXOR: packedOp('v128.xor'),
  PANDN: packedOpReversed('v128.andnot'),
  ...Object.fromEntries(
    ['S', 'D'].flatMap((t) => [
      [`ANDP${t}`, packedOp('v128.and')],
      [`ORP${t}`, packedOp('v128.or')],
      [`XORP${t}`, packedOp('v128.xor')],
      [`ANDNP${t}`, packedOpReversed('v128.andnot')],
    ]),
  ),
});
