import type { Val } from '@nestvm/emit';
import type { Context } from '../context.js';
import type { Emitter } from '../emitter.js';
import { dwordIndex, qword, range, replace64, splatConstant, swizzle } from '../vector/lanes.js';
import { loadVector, output, vectorAt, vectorBytes, zero128 } from '../vector/operand.js';
import { packed, packedUnary } from '../vector/packed.js';

type V = Val<128>;
const op = (x: Context, name: string, ...args: Val[]): V => x.code.op(name, 128, ...args);
const imm8 = (x: Context): Val<32> => x.fields.immediate32().and(0xff);

/** One element to all places: the low one of a register, or memory. */
const broadcast =
  (size: 1 | 2 | 4 | 8): Emitter =>
  (x) => {
    const shape = { 1: 'i8x16', 2: 'i16x8', 4: 'i32x4', 8: 'i64x2' }[size];
    const source = vectorAt(x, 1);
    const value = source.isMemory ? (loadVector(x, x.operandAddress(size, 0), size)[0] as V) : (source.read()[0] as V);
    const element = x.code.lane(size < 4 ? `${shape}.extract_lane_u` : `${shape}.extract_lane`, size === 8 ? 64 : 32, 0, value);
    const splat = op(x, `${shape}.splat`, element);
    output(x).write(range(vectorBytes(x) / 16).map(() => splat));
  };

/** 128 bits to both halves. */
const broadcast128: Emitter = (x) => {
  const [value] = vectorAt(x, 1).read();
  output(x).write([value as V, value as V]);
};

const insert128: Emitter = (x) => {
  const value = vectorAt(x, 2).read()[0] as V;
  const [low, high] = vectorAt(x, 1).read() as [V, V];
  const upper = imm8(x).and(1);
  output(x).write([x.code.select(upper, low, value), x.code.select(upper, value, high)]);
};

const extract128: Emitter = (x) => {
  const [low, high] = vectorAt(x, 1).read() as [V, V];
  output(x).write([x.code.select(imm8(x).and(1), high, low)]);
};

/** Each half of the result: one of four 128-bit halves, or zero. */
const permute128: Emitter = (x) => {
  const { code } = x;
  const b = vectorAt(x, 2).read() as [V, V];
  const a = vectorAt(x, 1).read() as [V, V];
  const half = (control: Val<32>): V => {
    const chosen = code.select(control.and(2), code.select(control.and(1), b[1], b[0]), code.select(control.and(1), a[1], a[0]));
    return code.select(control.and(8), zero128(x), chosen);
  };
  const control = imm8(x);
  output(x).write([half(control), half(control.shrU(4))]);
};

/** Four qwords of 256 bits picked by an immediate. */
const permuteQwords: Emitter = (x) => {
  const { code } = x;
  const [low, high] = vectorAt(x, 1).read() as [V, V];
  const control = imm8(x);
  const element = (i: number): Val<64> => {
    const bits = control.shrU(2 * i);
    const pair = code.select(bits.and(2), high, low);
    return code.select(bits.and(1), qword(x, 1, pair), qword(x, 0, pair));
  };
  output(x).write([0, 2].map((i) => replace64(x, 1, replace64(x, 0, zero128(x), element(i)), element(i + 1))));
};

/** Byte index of dwords whose numbers are in the low bits of each dword. */
function byteIndex(x: Context, numbers: V, mask: number): V {
  const spread = op(x, 'i32x4.mul', op(x, 'v128.and', numbers, splatConstant(x, 32, mask)), splatConstant(x, 32, 0x04040404));
  return op(x, 'i32x4.add', spread, splatConstant(x, 32, 0x03020100));
}

/** Dwords of 256 bits picked by the dwords of the other operand. */
const permuteDwords: Emitter = (x) => {
  const [low, high] = vectorAt(x, 2).read() as [V, V];
  const control = vectorAt(x, 1).read();
  const sixteen = splatConstant(x, 8, 16);
  output(x).write(
    control.map((numbers) => {
      const index = byteIndex(x, numbers, 7);
      return op(x, 'v128.or', swizzle(x, low, index), swizzle(x, high, op(x, 'i8x16.sub', index, sixteen)));
    }),
  );
};

/** Dwords of each 128-bit lane picked by an immediate or by a vector. */
const permuteSingles: Emitter = (x) => {
  if (x.facts.row.operands[2]!.method === 'I') {
    const index = dwordIndex(x, imm8(x));
    return packedUnary((_x, a) => swizzle(x, a, index))(x);
  }
  packed((_x, a, b) => swizzle(x, a, byteIndex(x, b, 3)))(x);
};

/** Qwords of each 128-bit lane picked by bits of an immediate, or bit 1 of each qword of a vector. */
const permuteDoubles: Emitter = (x) => {
  const { code } = x;
  const choose = (a: V, low: Val<32>, high: Val<32>): V => {
    const element = (bit: Val<32>): Val<64> => code.select(bit, qword(x, 1, a), qword(x, 0, a));
    return replace64(x, 1, replace64(x, 0, zero128(x), element(low)), element(high));
  };
  if (x.facts.row.operands[2]!.method === 'I') {
    const control = imm8(x);
    return packedUnary((_x, a, i) => choose(a, control.shrU(2 * i).and(1), control.shrU(2 * i + 1).and(1)))(x);
  }
  packed((_x, a, b) => choose(a, qword(x, 0, b).trunc(32).and(2), qword(x, 1, b).trunc(32).and(2)))(x);
};

/** Broadcasts, permutations, and 128-bit halves of AVX and AVX2. */
export const permuteMeanings: Record<string, Emitter> = {
  VBROADCASTSS: broadcast(4),
  VBROADCASTSD: broadcast(8),
  VBROADCASTF128: broadcast128,
  VBROADCASTI128: broadcast128,
  VPBROADCASTB: broadcast(1),
  VPBROADCASTW: broadcast(2),
  VPBROADCASTD: broadcast(4),
  VPBROADCASTQ: broadcast(8),
  VINSERTF128: insert128,
  VINSERTI128: insert128,
  VEXTRACTF128: extract128,
  VEXTRACTI128: extract128,
  VPERM2F128: permute128,
  VPERM2I128: permute128,
  VPERMQ: permuteQwords,
  VPERMPD: permuteQwords,
  VPERMD: permuteDwords,
  VPERMPS: permuteDwords,
  VPERMILPS: permuteSingles,
  VPERMILPD: permuteDoubles,
};
