import type { FunctionDefinition, Val } from '@nestvm/emit';
import type { Context } from '../context.js';
import type { Emitter } from '../emitter.js';
import { collectExceptions, commitExceptions, exactlyUnless, isQuiet } from '../float/commit.js';
import { convert } from '../float/convert.js';
import { Round } from '../float/format.js';
import { isNormal, isNotDenormal, LANES, laneBits, type Real, SHAPE, withLaneBits } from '../float/lanes.js';
import { dword, range, replace32, splatConstant } from '../vector/lanes.js';
import { withVex } from '../vector/naming.js';
import { integerAt, output, vectorAt, zero128 } from '../vector/operand.js';

type V = Val<128>;
type Q = Val<64>;

/** The i-th element of one or two chunks, as bits in an i64; `size` in bytes. */
function elementOf(x: Context, chunks: readonly V[], size: 4 | 8, i: number): Q {
  const lanes = 16 / size;
  return laneBits(x.code, size === 8 ? 'f64' : 'f32', i % lanes, chunks[Math.floor(i / lanes)] as V);
}

/** Chunks from elements. */
function chunksOf(x: Context, size: 4 | 8, values: readonly Q[]): V[] {
  const lanes = 16 / size;
  return range(Math.max(1, (values.length * size) / 16)).map((chunk) =>
    values.slice(chunk * lanes, (chunk + 1) * lanes).reduce((into, v, i) => withLaneBits(x.code, size === 8 ? 'f64' : 'f32', i, into, v), zero128(x)),
  );
}

/** Rounding mode of a conversion to integers: MXCSR's, or toward zero for the CVTT ones. */
const roundingOf = (x: Context, truncate: boolean): Val<32> => (truncate ? x.const(32, Round.ZERO) : x.get32('mxcsr').shrU(13).and(3));

/** A packed conversion, element by element: exact, with exceptions. */
const packedConvert =
  (from: 4 | 8, to: 4 | 8, one: (x: Context, value: Q) => Q): Emitter =>
  (x) => {
    const source = vectorAt(x, 1);
    const chunks = source.read();
    const length = x.facts.row.operands.some((o) => 'PQ'.includes(o.method))
      ? from === 8 || to === 8
        ? 16
        : 8
      : x.facts.vectorLength === 256
        ? 32
        : 16;
    const count = length / Math.max(from, to);
    collectExceptions(x);
    const values = range(count).map((i) => one(x, elementOf(x, chunks, from, i)));
    commitExceptions(x);
    output(x).write(chunksOf(x, to, values));
  };

const call = (x: Context, target: FunctionDefinition, value: Q): Q => x.code.call(target, 64, value, x.get32('mxcsr'), x.cpu);
const callRounding =
  (target: FunctionDefinition, truncate: boolean) =>
  (x: Context, value: Q): Q =>
    x.code.call(target, 64, value, roundingOf(x, truncate), x.get32('mxcsr'), x.cpu);

/** The lowest element replaced in the merge source: the destination of legacy forms, vvvv of VEX forms. */
function writeLow(x: Context, real: Real, bits: Q): void {
  const { operands } = x.facts.row;
  const kept = vectorAt(x, operands.length === 3 ? 1 : 0).read()[0] as V;
  output(x).write([withLaneBits(x.code, real, 0, kept, bits)]);
}

/** An integer register or memory to a scalar; 32-bit integers to double are always exact. */
const integerToScalar =
  (real: Real): Emitter =>
  (x) => {
    const { code } = x;
    const source = integerAt(x, x.facts.row.operands.length - 1);
    const value = source.read().sext(64);
    if (real === 'f64' && source.width === 32)
      return writeLow(x, real, code.op('i64.reinterpret_f64', 64, code.op('f64.convert_i64_s', 'f64', value)));
    const bits = code.variable(
      real === 'f64'
        ? code.op('i64.reinterpret_f64', 64, code.op('f64.convert_i64_s', 'f64', value))
        : (code.op('i32.reinterpret_f32', 32, code.op('f32.convert_i64_s', 'f32', value)) as Val<32>).zext(64),
    );
    exactlyUnless(x, isQuiet(x.get32('mxcsr')), () => {
      const exactly = call(x, convert[real].fromInteger, value);
      commitExceptions(x);
      bits.set(exactly);
    });
    writeLow(x, real, bits.get());
  };

/** A scalar to an integer register. Numbers well inside the range take the host's conversion when lost precision leaves no trace. */
const scalarToInteger =
  (real: Real, truncate: boolean): Emitter =>
  (x) => {
    const { code } = x;
    const target = integerAt(x, 0);
    const bits = target.width === 64 ? 64 : 32;
    const source = vectorAt(x, 1).read()[0] as V;
    const number = code.lane(`${SHAPE[real]}.extract_lane`, real, 0, source);
    const integral = code.op(`${real}.${truncate ? 'trunc' : 'nearest'}`, real, number) as Val<Real>;
    const inside = code.op(`${real}.lt`, 32, code.op(`${real}.abs`, real, number), code.constant(real, 2 ** (bits - 1) - 2 ** (bits - 8)));
    const fast = inside.and(isQuiet(x.get32('mxcsr')).or(code.op(`${real}.eq`, 32, integral, number)));
    const result = code.variable(code.op(`i64.trunc_sat_${real}_s`, 64, integral));
    exactlyUnless(x, fast, () => {
      const exactly = callRounding(bits === 64 ? convert[real].i64 : convert[real].i32, truncate)(x, laneBits(code, real, 0, source));
      commitExceptions(x);
      result.set(exactly);
    });
    target.write(bits === 64 ? result.get() : result.get().trunc(32));
  };

/** Between scalar formats. */
const scalarConvert =
  (from: Real, to: Real): Emitter =>
  (x) => {
    const { code } = x;
    const source = vectorAt(x, x.facts.row.operands.length - 1).read()[0] as V;
    const number = code.lane(`${SHAPE[from]}.extract_lane`, from, 0, source);
    const narrows = to === 'f32';
    const quick = code.op(`${SHAPE[to]}.splat`, 128, narrows ? code.op('f32.demote_f64', 'f32', number) : code.op('f64.promote_f32', 'f64', number));
    // A zero that comes out may have been a number that is too small.
    const plain = isNotDenormal(code, from, source).and(isNormal(code, to, quick));
    const bits = code.variable(laneBits(code, to, 0, quick));
    const zero = code.op(`${from}.eq`, 32, number, code.constant(from, 0));
    exactlyUnless(x, zero.or(narrows ? plain.and(isQuiet(x.get32('mxcsr'))) : plain), () => {
      const exactly = call(x, narrows ? convert.f64.f32 : convert.f32.f64, laneBits(code, from, 0, source));
      commitExceptions(x);
      bits.set(exactly);
    });
    writeLow(x, to, bits.get());
  };

/** ROUNDxx: bits 1:0 of the immediate are the mode unless bit 2 takes MXCSR's; bit 3 keeps lost precision quiet. */
const roundElements =
  (real: Real, scalar: boolean): Emitter =>
  (x) => {
    const { code } = x;
    const { operands } = x.facts.row;
    const chunks = vectorAt(x, operands.length - 2).read();
    const control = x.fields.immediate32();
    const mxcsr = x.get32('mxcsr');
    const mode = code.select(control.and(4), mxcsr.shrU(13), control).and(3);
    const quiet = control.and(8);
    collectExceptions(x);
    const one = (v: V, lane: number): Q => code.call(convert[real].integral, 64, laneBits(code, real, lane, v), mode, quiet, mxcsr, x.cpu);
    if (scalar) {
      const bits = one(chunks[0] as V, 0);
      commitExceptions(x);
      const kept = vectorAt(x, operands.length === 4 ? 1 : 0).read()[0] as V;
      return output(x).write([withLaneBits(code, real, 0, kept, bits)]);
    }
    const results = chunks.map((v) => range(LANES[real]).reduce((into, lane) => withLaneBits(code, real, lane, into, one(v, lane)), v));
    commitExceptions(x);
    output(x).write(results);
  };

/** CVTPI2PS keeps the upper half of its destination. */
const mmxToSingles: Emitter = (x) => {
  const source = vectorAt(x, 1).read()[0] as V;
  const kept = vectorAt(x, 0).read()[0] as V;
  collectExceptions(x);
  const values = range(2).map((i) => call(x, convert.f32.fromInteger, dword(x, i, source).sext(64)));
  commitExceptions(x);
  vectorAt(x, 0).write([values.reduce((into, v, i) => replace32(x, i, into, v.trunc(32)), kept)]);
};

/** Signed dwords to doubles: exact, no exceptions. */
const dwordsToDoubles: Emitter = (x) => {
  const { code } = x;
  const source = vectorAt(x, 1).read()[0] as V;
  const count = x.facts.vectorLength === 256 ? 2 : 1;
  const upper = code.shuffle(
    range(16).map((i) => (i + 8) & 15),
    source,
    source,
  );
  output(x).write([source, upper].slice(0, count).map((v) => code.op('f64x2.convert_low_i32x4_s', 128, v)));
};

/** Halves of 16 bits to singles, and back with a rounding mode of the immediate (F16C). */
const halvesToSingles: Emitter = (x) => {
  const { code } = x;
  const source = vectorAt(x, 1).read()[0] as V;
  collectExceptions(x);
  const values = range(x.facts.vectorLength === 256 ? 8 : 4).map((i) =>
    call(x, convert.f16.f32, code.lane('i16x8.extract_lane_u', 32, i, source).zext(64)),
  );
  commitExceptions(x);
  output(x).write(chunksOf(x, 4, values));
};

const singlesToHalves: Emitter = (x) => {
  const { code } = x;
  const target = output(x);
  const chunks = vectorAt(x, 1).read();
  const control = x.fields.immediate32();
  const mxcsr = x.get32('mxcsr');
  const rounding = code.select(control.and(4), mxcsr, mxcsr.and(~0x6000).or(control.and(3).shl(13)));
  target.probe();
  collectExceptions(x);
  const values = range(x.facts.vectorLength === 256 ? 8 : 4).map((i) => code.call(convert.f32.f16, 64, elementOf(x, chunks, 4, i), rounding, x.cpu));
  commitExceptions(x);
  target.write([values.reduce((into, v, i) => code.lane('i16x8.replace_lane', 128, i, into, v.trunc(32)), splatConstant(x, 32, 0))]);
};

const toInt = (from: Real, truncate: boolean): Emitter => packedConvert(from === 'f64' ? 8 : 4, 4, callRounding(convert[from].i32, truncate));

/** Conversions of SSE, SSE2, SSE4.1, AVX and F16C. */
export const convertMeanings: Record<string, Emitter> = {
  ...withVex({
    CVTSI2SS: integerToScalar('f32'),
    CVTSI2SD: integerToScalar('f64'),
    CVTSS2SI: scalarToInteger('f32', false),
    CVTSD2SI: scalarToInteger('f64', false),
    CVTTSS2SI: scalarToInteger('f32', true),
    CVTTSD2SI: scalarToInteger('f64', true),
    CVTSS2SD: scalarConvert('f32', 'f64'),
    CVTSD2SS: scalarConvert('f64', 'f32'),
    CVTPS2PD: packedConvert(4, 8, (x, v) => call(x, convert.f32.f64, v)),
    CVTPD2PS: packedConvert(8, 4, (x, v) => call(x, convert.f64.f32, v)),
    CVTDQ2PS: packedConvert(4, 4, (x, v) => call(x, convert.f32.fromInteger, v.trunc(32).sext(64))),
    CVTDQ2PD: dwordsToDoubles,
    CVTPS2DQ: toInt('f32', false),
    CVTTPS2DQ: toInt('f32', true),
    CVTPD2DQ: toInt('f64', false),
    CVTTPD2DQ: toInt('f64', true),
    ROUNDPS: roundElements('f32', false),
    ROUNDPD: roundElements('f64', false),
    ROUNDSS: roundElements('f32', true),
    ROUNDSD: roundElements('f64', true),
  }),
  CVTPI2PS: mmxToSingles,
  CVTPI2PD: dwordsToDoubles,
  CVTPS2PI: toInt('f32', false),
  CVTTPS2PI: toInt('f32', true),
  CVTPD2PI: toInt('f64', false),
  CVTTPD2PI: toInt('f64', true),
  VCVTPH2PS: halvesToSingles,
  VCVTPS2PH: singlesToHalves,
};
