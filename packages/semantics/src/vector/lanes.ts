import { Kind, type Val } from '@nestvm/emit';
import type { Context } from '../context.js';

/** 0, 1, … n-1. */
export const range = (n: number): number[] => Array.from({ length: n }, (_, i) => i);

/** The value when it is known as the code is written (always in the JIT), else null. */
export const known = (value: Val): number | null => (value.node.kind === Kind.CONST ? Number(value.node.value) : null);

/** A constant of 16 bytes. */
export const bytes16 = (x: Context, values: readonly number[]): Val<128> => x.code.constant128(Uint8Array.from(values));

/** A constant of one element repeated: width 8, 16, 32 or 64 bits. */
export function splatConstant(x: Context, width: 8 | 16 | 32 | 64, value: number | bigint): Val<128> {
  const bits = BigInt.asUintN(width, BigInt(value));
  return bytes16(
    x,
    range(16).map((i) => Number((bits >> BigInt((8 * i) % width)) & 0xffn)),
  );
}

/** A constant of four 32-bit elements. */
const dwords = (x: Context, values: readonly number[]): Val<128> =>
  bytes16(
    x,
    values.flatMap((v) => [v & 0xff, (v >>> 8) & 0xff, (v >>> 16) & 0xff, v >>> 24]),
  );

/** Byte lanes of whole elements: element i of a followed by b. */
export const elements = (size: number, picks: readonly number[]): number[] => picks.flatMap((e) => range(size).map((i) => e * size + i));

/** Elements of a followed by b, as constant picks. */
export const pick = (x: Context, size: number, picks: readonly number[], a: Val<128>, b: Val<128> = a): Val<128> =>
  x.code.shuffle(elements(size, picks), a, b);

/** i8x16.swizzle: byte i of the result is byte index[i] of `value`, or 0 when that is above 15. */
export const swizzle = (x: Context, value: Val<128>, index: Val<128>): Val<128> => x.code.op('i8x16.swizzle', 128, value, index);

/** The bytes 0 … 15. */
export const iota = (x: Context): Val<128> => bytes16(x, range(16));

/** Swizzle index of four 32-bit elements chosen by the 2-bit fields of `control` (run time). */
export function dwordIndex(x: Context, control: Val<32>): Val<128> {
  let index = dwords(x, [0, 0, 0, 0]);
  for (const i of range(4))
    index = x.code.lane(
      'i32x4.replace_lane',
      128,
      i,
      index,
      control
        .shrU(2 * i)
        .and(3)
        .mul(0x04040404)
        .add(0x03020100),
    );
  return index;
}

/** Mask of elements of `size` bytes whose bit in `control` (from bit `first`) is set. */
export function maskFromBits(x: Context, size: 1 | 2 | 4 | 8, control: Val<32>, first = 0): Val<128> {
  const shape = { 1: 'i8x16', 2: 'i16x8', 4: 'i32x4', 8: 'i64x2' }[size];
  if (size === 1) {
    // Bits 0-7 go to the low eight bytes, bits 8-15 to the high ones.
    const spread = swizzle(
      x,
      x.code.op('i32x4.splat', 128, control.shrU(first)),
      bytes16(
        x,
        range(16).map((i) => i >> 3),
      ),
    );
    const bit = bytes16(
      x,
      range(16).map((i) => 1 << (i & 7)),
    );
    return x.code.op('i8x16.eq', 128, x.code.op('v128.and', 128, spread, bit), bit);
  }
  const lanes = range(16 / size);
  const bit = bytes16(
    x,
    lanes.flatMap((i) => range(size).map((b) => (b === 0 ? 1 << i : 0))),
  );
  const shifted = control.shrU(first).and((1 << (16 / size)) - 1);
  const splat = x.code.op(`${shape}.splat`, 128, size === 8 ? shifted.zext(64) : shifted);
  return x.code.op(`${shape}.eq`, 128, x.code.op('v128.and', 128, splat, bit), bit);
}

/** Bits of a where the mask is set, else of b. */
export const blend = (x: Context, mask: Val<128>, a: Val<128>, b: Val<128>): Val<128> => x.code.op('v128.bitselect', 128, a, b, mask);

/** A vector and the i-th element of another, by constant lane. */
export const replace32 = (x: Context, lane: number, into: Val<128>, value: Val<32>): Val<128> =>
  x.code.lane('i32x4.replace_lane', 128, lane, into, value);
/** Puts a 64-bit element into a constant lane. */
export const replace64 = (x: Context, lane: number, into: Val<128>, value: Val<64>): Val<128> =>
  x.code.lane('i64x2.replace_lane', 128, lane, into, value);
/** 32-bit element of a constant lane. */
export const dword = (x: Context, lane: number, from: Val<128>): Val<32> => x.code.lane('i32x4.extract_lane', 32, lane, from);
/** 64-bit element of a constant lane. */
export const qword = (x: Context, lane: number, from: Val<128>): Val<64> => x.code.lane('i64x2.extract_lane', 64, lane, from);
