import type { Val } from '@nestvm/emit';
import type { Context } from '../context.js';
import type { Emitter } from '../emitter.js';
import { blend, bytes16, dword, dwordIndex, iota, known, maskFromBits, pick, range, splatConstant, swizzle } from '../vector/lanes.js';
import { withVex } from '../vector/naming.js';
import { inputs, integerAt, isMmx, output, type VectorOperand, vectorAt, vectorBytes, xmm0 } from '../vector/operand.js';
import { type Binary, packed } from '../vector/packed.js';
import { halved } from './integer.js';

type V = Val<128>;
const op = (x: Context, name: string, ...args: Val[]): V => x.code.op(name, 128, ...args);
const first = (operand: VectorOperand): V => operand.read()[0] as V;
const imm8 = (x: Context): Val<32> => x.fields.immediate32().and(0xff);

/** Elements of both sources interleaved, from the lower or upper half. */
const interleave = (size: number, upper: boolean): Emitter => {
  const n = 16 / size;
  const lanes = range(n / 2).flatMap((i) => [i + (upper ? n / 2 : 0), n + i + (upper ? n / 2 : 0)]);
  const low: Binary = (x, a, b) =>
    pick(
      x,
      size,
      range(n / 2).flatMap((i) => [i, n + i]),
      a,
      b,
    );
  // The 128-bit low interleave of two 64-bit values holds the 64-bit high one in its upper half.
  return packed(
    (x, a, b) => pick(x, size, lanes, a, b),
    (x, a, b, i) => (upper ? pick(x, 8, [1, 1], low(x, a, b, i)) : low(x, a, b, i)),
  );
};

const narrow = (name: string): Emitter => halved((x, a, b) => op(x, name, a, b));

/** Bytes of a picked by the low bits of b; a set top bit makes zero. */
const shuffleBytes: Emitter = packed(
  (x, a, b) => swizzle(x, a, op(x, 'v128.and', b, splatConstant(x, 8, 0x8f))),
  (x, a, b) => swizzle(x, a, op(x, 'v128.and', b, splatConstant(x, 8, 0x87))),
);

/** Four dwords picked by an immediate. */
const shuffleDwords: Emitter = (x) => {
  const control = imm8(x);
  const constant = known(control);
  const index = constant === null ? dwordIndex(x, control) : null;
  output(x).write(
    inputs(x)[0]!
      .read()
      .map((v) =>
        index
          ? swizzle(x, v, index)
          : pick(
              x,
              4,
              range(4).map((i) => (constant! >> (2 * i)) & 3),
              v,
            ),
      ),
  );
};

/** Four words of one half picked by an immediate; the other half stays. */
const shuffleWords =
  (upper: boolean): Emitter =>
  (x) => {
    const control = imm8(x);
    const base = upper ? 8 : 0;
    let index = iota(x);
    for (const i of range(4)) {
      index = x.code.lane(
        'i16x8.replace_lane',
        128,
        i + (upper ? 4 : 0),
        index,
        control
          .shrU(2 * i)
          .and(3)
          .mul(0x0202)
          .add(0x0100 + base * 0x0101),
      );
    }
    output(x).write(
      inputs(x)[0]!
        .read()
        .map((v) => swizzle(x, v, index)),
    );
  };

/** SHUFPS: two dwords of a, then two of b. */
const shuffleSingles: Emitter = (x) => {
  const control = imm8(x);
  const constant = known(control);
  if (constant !== null) {
    const picks = range(4).map((i) => ((constant >> (2 * i)) & 3) + (i > 1 ? 4 : 0));
    return packed((_x, a, b) => pick(x, 4, picks, a, b))(x);
  }
  const index = dwordIndex(x, control);
  packed((_x, a, b) => pick(x, 8, [0, 3], swizzle(x, a, index), swizzle(x, b, index)))(x);
};

/** SHUFPD: one qword of a by a bit, one of b by the next. */
const shuffleDoubles: Emitter = (x) => {
  const control = imm8(x);
  packed((_x, a, b, chunk) => {
    const choose = (v: V, bit: number): Val<64> => {
      const lane = (n: number): Val<64> => x.code.lane('i64x2.extract_lane', 64, n, v);
      return x.code.select(control.shrU(bit).and(1), lane(1), lane(0));
    };
    return x.code.lane('i64x2.replace_lane', 128, 1, op(x, 'i64x2.splat', choose(a, 2 * chunk)), choose(b, 2 * chunk + 1));
  })(x);
};

/** PALIGNR: a above b, shifted right by bytes. */
const align: Emitter = (x) => {
  const count = imm8(x);
  const size = isMmx(x) ? 8 : 16;
  const splat = (v: Val<32>): V => op(x, 'i8x16.splat', v);
  packed((_x, a, b) => {
    if (size === 8) {
      const both = pick(x, 8, [0, 2], b, a);
      return swizzle(x, both, op(x, 'i8x16.add_sat_u', iota(x), splat(count)));
    }
    const low = swizzle(x, b, op(x, 'i8x16.add_sat_u', iota(x), splat(count)));
    return op(x, 'v128.or', low, swizzle(x, a, op(x, 'i8x16.add', iota(x), splat(count.sub(16)))));
  })(x);
};

/** Elements of b where the immediate's bit is set, else of a. */
const blendImmediate =
  (size: 2 | 4 | 8): Emitter =>
  (x) => {
    const control = imm8(x);
    // PBLENDW uses the same eight bits in both 128-bit lanes.
    packed((_x, a, b, chunk) => blend(x, maskFromBits(x, size, control, size === 2 ? 0 : chunk * (16 / size)), b, a))(x);
  };

/** Elements of b where the mask's sign is set: XMM0, or the VEX form's fourth operand. */
const blendVariable =
  (shape: string, bits: number): Emitter =>
  (x) => {
    const { encoding } = x.facts.row;
    const masks = (encoding === 'legacy' ? xmm0(x) : vectorAt(x, 3)).read();
    packed((_x, a, b, i) => blend(x, op(x, `${shape}.shr_s`, masks[i] as V, x.const(32, bits - 1)), b, a))(x);
  };

/** An element to a general register or memory; the position wraps. */
const extract =
  (size: 1 | 2 | 4 | 8): Emitter =>
  (x) => {
    const n = (isMmx(x) ? 8 : 16) / size;
    const position = imm8(x).and(n - 1);
    const index = op(x, 'i8x16.add', iota(x), op(x, 'i8x16.splat', position.mul(size)));
    const moved = swizzle(x, first(vectorAt(x, 1)), index);
    const target = integerAt(x, 0);
    if (size === 8) return target.write(x.code.lane('i64x2.extract_lane', 64, 0, moved));
    const value = dword(x, 0, moved).and(size === 4 ? -1 : size === 2 ? 0xffff : 0xff);
    target.write(target.width === 64 ? value.zext(64) : value.trunc(target.width as 8 | 16 | 32));
  };

/** A general register's or memory's low part into one element; the position wraps. */
const insert =
  (size: 1 | 2 | 4 | 8): Emitter =>
  (x) => {
    const n = (isMmx(x) ? 8 : 16) / size;
    const last = x.facts.row.operands.length - 1;
    const value = integerAt(x, last - 1).read();
    const kept = first(vectorAt(x, last === 3 ? 1 : 0));
    const shape = { 1: 'i8x16', 2: 'i16x8', 4: 'i32x4', 8: 'i64x2' }[size];
    const splat = op(x, `${shape}.splat`, size === 8 ? value : value.width === 64 ? (value as Val<64>).trunc(32) : value);
    const numbers = bytes16(
      x,
      range(16).map((i) => Math.floor(i / size)),
    );
    const mask = op(x, 'i8x16.eq', numbers, op(x, 'i8x16.splat', imm8(x).and(n - 1)));
    vectorAt(x, 0).write([blend(x, mask, splat, kept)]);
  };

/** INSERTPS: one dword of the source (a memory operand is that dword) into one place, then zeros by mask. */
const insertSingle: Emitter = (x) => {
  const control = imm8(x);
  const last = x.facts.row.operands.length - 1;
  const source = vectorAt(x, last - 1);
  const kept = first(vectorAt(x, last === 3 ? 1 : 0));
  const value = first(source);
  const from = source.isMemory ? x.const(32, 0) : control.shrU(6);
  const splat = swizzle(x, value, op(x, 'i32x4.splat', from.mul(0x04040404).add(0x03020100)));
  const numbers = bytes16(
    x,
    range(16).map((i) => i >> 2),
  );
  const mask = op(x, 'i8x16.eq', numbers, op(x, 'i8x16.splat', control.shrU(4).and(3)));
  vectorAt(x, 0).write([op(x, 'v128.andnot', blend(x, mask, splat, kept), maskFromBits(x, 4, control))]);
};

/** Elements of the low part widened: PMOVSX, PMOVZX. */
const widen =
  (from: number, to: number, sign: 's' | 'u'): Emitter =>
  (x) => {
    const NAMES: Record<number, string> = { 1: 'i8x16', 2: 'i16x8', 4: 'i32x4', 8: 'i64x2' };
    const source = first(vectorAt(x, 1));
    const chunks = range(vectorBytes(x) / 16).map((chunk) => {
      const start = chunk * (16 / to) * from;
      let value =
        start === 0
          ? source
          : x.code.shuffle(
              range(16).map((i) => (i + start) & 15),
              source,
              source,
            );
      for (let size = from; size < to; size *= 2) value = op(x, `${NAMES[2 * size]}.extend_low_${NAMES[size]}_${sign}`, value);
      return value;
    });
    output(x).write(chunks);
  };

/** MPSADBW: eight sums of four absolute byte differences; the block of b and the start in a come from the immediate, three bits per 128-bit lane. */
const multipleSums: Emitter = (x) => {
  const control = imm8(x);
  packed((_x, a, b, chunk) => {
    const bits = control.shrU(3 * chunk);
    const index = (start: Val<32>, picks: readonly number[]): V => op(x, 'i8x16.add', bytes16(x, picks), op(x, 'i8x16.splat', start));
    const block = swizzle(x, b, index(bits.and(3).shl(2), range(16)));
    const window = swizzle(x, a, index(bits.and(4), range(16)));
    let sum: V | undefined;
    for (const j of range(4)) {
      const moving = op(
        x,
        'i16x8.extend_low_i8x16_u',
        x.code.shuffle(
          range(16).map((i) => (i < 8 ? i + j : 0)),
          window,
          window,
        ),
      );
      const fixed = op(
        x,
        'i16x8.extend_low_i8x16_u',
        x.code.shuffle(
          range(16).map(() => j),
          block,
          block,
        ),
      );
      const difference = op(x, 'i16x8.abs', op(x, 'i16x8.sub', moving, fixed));
      sum = sum === undefined ? difference : op(x, 'i16x8.add', sum, difference);
    }
    return sum as V;
  })(x);
};

/** ZF when a AND b is 0, CF when NOT a AND b is 0, over what `part` leaves of each. */
const test =
  (mask: bigint | null, width: 32 | 64): Emitter =>
  (x) => {
    const b = vectorAt(x, 1).read();
    const a = vectorAt(x, 0).read();
    const any = (name: 'v128.and' | 'v128.andnot'): Val<32> => {
      const parts = a.map((v, i) => {
        const value = op(x, name, b[i] as V, v);
        return mask === null ? value : op(x, 'v128.and', value, splatConstant(x, width, mask));
      });
      return x.code.op('v128.any_true', 32, parts.length > 1 ? op(x, 'v128.or', parts[0] as V, parts[1] as V) : (parts[0] as V));
    };
    const zero = x.const(32, 0);
    x.flags.set({ cf: any('v128.andnot').isZero(), zf: any('v128.and').isZero(), pf: zero, af: zero, sf: zero, of: zero });
  };

const widenings = Object.fromEntries(
  (
    [
      ['BW', 1, 2],
      ['BD', 1, 4],
      ['BQ', 1, 8],
      ['WD', 2, 4],
      ['WQ', 2, 8],
      ['DQ', 4, 8],
    ] as const
  ).flatMap(([name, from, to]) => [
    [`PMOVSX${name}`, widen(from, to, 's')],
    [`PMOVZX${name}`, widen(from, to, 'u')],
  ]),
);

/** Packing, unpacking, shuffling, blending, inserting, extracting, widening, testing (SDM Vol. 1, chapter 5). */
export const shuffleMeanings: Record<string, Emitter> = {
  ...withVex({
    PUNPCKLBW: interleave(1, false),
    PUNPCKLWD: interleave(2, false),
    PUNPCKLDQ: interleave(4, false),
    PUNPCKLQDQ: interleave(8, false),
    PUNPCKHBW: interleave(1, true),
    PUNPCKHWD: interleave(2, true),
    PUNPCKHDQ: interleave(4, true),
    PUNPCKHQDQ: interleave(8, true),
    UNPCKLPS: interleave(4, false),
    UNPCKLPD: interleave(8, false),
    UNPCKHPS: interleave(4, true),
    UNPCKHPD: interleave(8, true),
    PACKSSWB: narrow('i8x16.narrow_i16x8_s'),
    PACKUSWB: narrow('i8x16.narrow_i16x8_u'),
    PACKSSDW: narrow('i16x8.narrow_i32x4_s'),
    PACKUSDW: narrow('i16x8.narrow_i32x4_u'),
    PSHUFB: shuffleBytes,
    PSHUFD: shuffleDwords,
    PSHUFLW: shuffleWords(false),
    PSHUFHW: shuffleWords(true),
    SHUFPS: shuffleSingles,
    SHUFPD: shuffleDoubles,
    PALIGNR: align,
    PBLENDW: blendImmediate(2),
    BLENDPS: blendImmediate(4),
    BLENDPD: blendImmediate(8),
    PBLENDVB: blendVariable('i8x16', 8),
    BLENDVPS: blendVariable('i32x4', 32),
    BLENDVPD: blendVariable('i64x2', 64),
    PEXTRB: extract(1),
    PEXTRW: extract(2),
    PEXTRD: extract(4),
    PEXTRQ: extract(8),
    EXTRACTPS: extract(4),
    PINSRB: insert(1),
    PINSRW: insert(2),
    PINSRD: insert(4),
    PINSRQ: insert(8),
    INSERTPS: insertSingle,
    ...widenings,
    MPSADBW: multipleSums,
    PTEST: test(null, 64),
  }),
  PSHUFW: shuffleWords(false),
  VTESTPS: test(0x80000000n, 32),
  VTESTPD: test(1n << 63n, 64),
  VPBLENDD: blendImmediate(4),
};
