import type { Code } from '@nestvm/emit';
import { defineFunction, type FunctionDefinition, type Val } from '@nestvm/emit';
import type { Context } from '../context.js';
import type { Emitter } from '../emitter.js';
import { maskFromBits, range } from '../vector/lanes.js';
import { withVex } from '../vector/naming.js';
import { from32, vectorAt, xmm0 } from '../vector/operand.js';

type V = Val<128>;
type I = Val<32>;

/** Shape of the elements that bit 0 of the immediate chooses. */
const SHAPE = { 8: 'i8x16', 16: 'i16x8' } as const;
type Bits = keyof typeof SHAPE;

/** The comparison masks that the aggregations are made of, for one element width. */
class Comparison {
  readonly shape: string;
  readonly n: number;
  constructor(
    private readonly code: Code,
    readonly bits: Bits,
    private readonly a: V,
    private readonly b: V,
    private readonly lengthA: I,
    readonly validB: I,
  ) {
    this.shape = SHAPE[bits];
    this.n = 128 / bits;
  }
  private element(i: number): V {
    const value = this.code.lane(`${this.shape}.extract_lane_u`, 32, i, this.a);
    return this.code.op(`${this.shape}.splat`, 128, value);
  }
  private mask(vector: V): I {
    return this.code.op(`${this.shape}.bitmask`, 32, vector);
  }
  /** All ones when element i of a is valid. */
  private valid(i: number): I {
    return this.lengthA.gtU(i).neg();
  }
  /** Equal any: each element of b that is in the set a. */
  any(): I {
    let result = this.code.constant(32, 0);
    for (const i of range(this.n)) result = result.or(this.mask(this.code.op(`${this.shape}.eq`, 128, this.b, this.element(i))).and(this.valid(i)));
    return result.and(this.validB);
  }
  /** Ranges: each element of b that lies in one of the pairs of a. */
  ranges(sign: 's' | 'u'): I {
    let result = this.code.constant(32, 0);
    for (let i = 0; i < this.n; i += 2) {
      const above = this.code.op(`${this.shape}.ge_${sign}`, 128, this.b, this.element(i));
      const below = this.code.op(`${this.shape}.le_${sign}`, 128, this.b, this.element(i + 1));
      result = result.or(this.mask(this.code.op('v128.and', 128, above, below)).and(this.valid(i + 1)));
    }
    return result.and(this.validB);
  }
  /** Equal each: pairs that are equal, or both beyond their ends. */
  each(): I {
    const all = (1 << this.n) - 1;
    const validA = this.code.constant(32, 1).shl(this.lengthA).sub(1);
    const equal = this.mask(this.code.op(`${this.shape}.eq`, 128, this.a, this.b))
      .and(validA)
      .and(this.validB);
    return equal.or(validA.or(this.validB).not().and(all));
  }
  /** Equal ordered: places of b where a starts; what lies beyond the last element counts as equal. */
  ordered(): I {
    const all = (1 << this.n) - 1;
    let result = this.code.constant(32, all);
    for (const i of range(this.n)) {
      const equal = this.mask(this.code.op(`${this.shape}.eq`, 128, this.b, this.element(i))).and(this.validB);
      const beyond = all & ~((1 << (this.n - i)) - 1);
      result = result.and(equal.shrU(i).or(beyond).or(this.valid(i).not()));
    }
    return result;
  }
}

/** IntRes2 of the packed string comparisons (SDM Vol. 2, "PCMPESTRI", "Aggregation Operation"): a, b, their lengths in elements, the immediate. */
const compareStrings = (bits: Bits): FunctionDefinition =>
  defineFunction(`pcmpstr.${bits}`, { params: ['v128', 'v128', 'i32', 'i32', 'i32'], results: ['i32'] }, (code) => {
    const [lengthA, lengthB, control] = [code.param(2, 32), code.param(3, 32), code.param(4, 32)];
    const validB = code.constant(32, 1).shl(lengthB).sub(1);
    const compare = new Comparison(code, bits, code.param(0, 128), code.param(1, 128), lengthA, validB);
    const aggregation = control.shrU(2).and(3);
    const result = code.variable(code.constant(32, 0));
    code.if(aggregation.eq(0), () => result.set(compare.any()));
    code.if(aggregation.eq(1), () =>
      code.if(
        control.and(2),
        () => result.set(compare.ranges('s')),
        () => result.set(compare.ranges('u')),
      ),
    );
    code.if(aggregation.eq(2), () => result.set(compare.each()));
    code.if(aggregation.eq(3), () => result.set(compare.ordered()));
    const all = code.constant(32, (1 << compare.n) - 1);
    const inverted = code.select(control.and(0x20), validB, all);
    code.return(result.get().xor(code.select(control.and(0x10), inverted, code.constant(32, 0))));
  });

const compareBytes = compareStrings(8);
const compareWords = compareStrings(16);

/** Elements before the first zero. */
function implicitLength(x: Context, words: I, value: V): I {
  const { code } = x;
  const zeros = (shape: string): I => code.op(`${shape}.bitmask`, 32, code.op(`${shape}.eq`, 128, value, code.constant128(new Uint8Array(16))));
  return code.select(words, zeros('i16x8').or(0x100), zeros('i8x16').or(0x10000)).ctz();
}

/** The magnitude of EAX or EDX (RAX, RDX with REX.W), at most the number of elements. */
function explicitLength(x: Context, register: number, limit: I): I {
  const wide = x.facts.operandSize === 64 ? x.gpr(64, register) : x.gpr(32, register).sext(64);
  const magnitude = x.code.select(wide.ltS(0), wide.neg(), wide);
  return x.code.select(magnitude.gtU(limit.zext(64)), limit, magnitude.trunc(32));
}

/** PCMPESTRI, PCMPESTRM, PCMPISTRI, PCMPISTRM: CF any, ZF b ended, SF a ended, OF first element. */
const stringCompare =
  (explicit: boolean, index: boolean): Emitter =>
  (x) => {
    const { code } = x;
    const b = vectorAt(x, 1).read()[0] as V;
    const a = vectorAt(x, 0).read()[0] as V;
    const control = x.fields.immediate32().and(0xff);
    const words = control.and(1);
    const limit = code.select(words, x.const(32, 8), x.const(32, 16));
    const [lengthA, lengthB] = explicit
      ? [explicitLength(x, 0, limit), explicitLength(x, 2, limit)]
      : [implicitLength(x, words, a), implicitLength(x, words, b)];
    const result = code.choose(
      words,
      32,
      () => code.call(compareWords, 32, a, b, lengthA, lengthB, control),
      () => code.call(compareBytes, 32, a, b, lengthA, lengthB, control),
    );
    if (index) {
      const found = code.select(control.and(0x40), x.const(32, 31).sub(result.clz()), result.ctz());
      x.setGpr(32, 1, code.select(result, found, limit));
    } else {
      const expanded = code.select(words, maskFromBits(x, 2, result), maskFromBits(x, 1, result));
      xmm0(x).write([code.select(control.and(0x40), expanded, from32(x, result))]);
    }
    const zero = x.const(32, 0);
    x.flags.set({ cf: result.isNonzero(), zf: lengthB.ltU(limit), sf: lengthA.ltU(limit), of: result.and(1), pf: zero, af: zero });
  };

/** Packed string comparison of SSE4.2. */
export const stringMeanings = withVex({
  PCMPESTRI: stringCompare(true, true),
  PCMPESTRM: stringCompare(true, false),
  PCMPISTRI: stringCompare(false, true),
  PCMPISTRM: stringCompare(false, false),
});
