import type { Val } from '@nestvm/emit';
import type { Context } from '../context.js';
import type { Emitter } from '../emitter.js';
import { iota, splatConstant, swizzle } from '../vector/lanes.js';
import { withVex } from '../vector/naming.js';
import { inputs, low64, output, zero128 } from '../vector/operand.js';

type V = Val<128>;

/** The shift count: an immediate, or the low 64 bits of the last operand; anything above 255 counts as 255. */
function shiftCount(x: Context): Val<32> {
  const { operands } = x.facts.row;
  if (operands[operands.length - 1]!.method === 'I') return x.fields.immediate32().and(0xff);
  const sources = inputs(x);
  const count = low64(sources[sources.length - 1]!.read()[0] as V);
  return x.code.select(count.gtU(255), x.const(32, 255), count.trunc(32));
}

/** A shift by one count; `fill`: counts beyond the width give zeros, or (arithmetic) copies of the sign. */
const shift =
  (shape: string, operation: 'shl' | 'shr_u' | 'shr_s', bits: number): Emitter =>
  (x) => {
    const { code } = x;
    const count = shiftCount(x);
    const values = inputs(x)[0]!.read();
    if (operation === 'shr_s') {
      const limited = code.select(count.gtU(bits - 1), x.const(32, bits - 1), count);
      return output(x).write(values.map((v) => code.op(`${shape}.shr_s`, 128, v, limited)));
    }
    const inside = count.ltU(bits);
    return output(x).write(values.map((v) => code.select(inside, code.op(`${shape}.${operation}`, 128, v, count), zero128(x))));
  };

/** Shift of whole bytes by an immediate, in each 128-bit lane. */
const byteShift =
  (left: boolean): Emitter =>
  (x) => {
    const { code } = x;
    const immediate = x.fields.immediate32().and(0xff);
    const count = code.op('i8x16.splat', 128, code.select(immediate.gtU(16), x.const(32, 16), immediate));
    // Indices outside of 0 … 15 (wrapped ones too) make zeros.
    const index = code.op(left ? 'i8x16.sub' : 'i8x16.add', 128, iota(x), count);
    output(x).write(
      inputs(x)[0]!
        .read()
        .map((v) => swizzle(x, v, index)),
    );
  };

/** Each element shifted by the count in the same element of the last operand (AVX2). */
const variableShift =
  (bits: 32 | 64, operation: 'shl' | 'shrU' | 'shrS'): Emitter =>
  (x) => {
    const { code } = x;
    const [source, amounts] = inputs(x);
    const counts = amounts!.read();
    const shape = bits === 32 ? 'i32x4' : 'i64x2';
    const result = source!.read().map((chunk, i) => {
      let shifted = splatConstant(x, 32, 0);
      for (let lane = 0; lane < 128 / bits; lane++) {
        const value = code.lane(`${shape}.extract_lane`, bits, lane, chunk) as Val<32>;
        const count = code.lane(`${shape}.extract_lane`, bits, lane, counts[i] as V) as Val<32>;
        const amount = bits === 64 ? (count as Val).as(64).trunc(32) : count;
        const limit = code.constant(bits, bits) as Val<32>;
        const element =
          operation === 'shrS'
            ? value.shrS(code.select(count.ltU(limit), amount, x.const(32, bits - 1)))
            : code.select(count.ltU(limit), value[operation](amount), code.constant(bits, 0) as Val<32>);
        shifted = code.lane(`${shape}.replace_lane`, 128, lane, shifted, element);
      }
      return shifted;
    });
    output(x).write(result);
  };

/** Packed shifts of MMX, SSE2, AVX2 (SDM Vol. 1, chapter 5). */
export const shiftMeanings: Record<string, Emitter> = {
  ...withVex({
    PSLLW: shift('i16x8', 'shl', 16),
    PSLLD: shift('i32x4', 'shl', 32),
    PSLLQ: shift('i64x2', 'shl', 64),
    PSRLW: shift('i16x8', 'shr_u', 16),
    PSRLD: shift('i32x4', 'shr_u', 32),
    PSRLQ: shift('i64x2', 'shr_u', 64),
    PSRAW: shift('i16x8', 'shr_s', 16),
    PSRAD: shift('i32x4', 'shr_s', 32),
    PSLLDQ: byteShift(true),
    PSRLDQ: byteShift(false),
  }),
  VPSLLVD: variableShift(32, 'shl'),
  VPSLLVQ: variableShift(64, 'shl'),
  VPSRLVD: variableShift(32, 'shrU'),
  VPSRLVQ: variableShift(64, 'shrU'),
  VPSRAVD: variableShift(32, 'shrS'),
};
