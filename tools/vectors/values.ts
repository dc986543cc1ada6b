/** Operand values: mostly the edges of each type, otherwise random. All are returned as unsigned bit patterns. */
import type { Random } from './random.js';

/** What the bits of an operand mean. */
export type ValueClass = 'int8' | 'int16' | 'int32' | 'int64' | 'int128' | 'f16' | 'bf16' | 'f32' | 'f64' | 'f80' | 'bcd80';

const widths: Record<ValueClass, number> = {
  int8: 8,
  int16: 16,
  int32: 32,
  int64: 64,
  int128: 128,
  f16: 16,
  bf16: 16,
  f32: 32,
  f64: 64,
  f80: 80,
  bcd80: 80,
};

/** Width of a class in bits. */
export function widthOf(kind: ValueClass): number {
  return widths[kind];
}

/** An integer: zero, ±1, both ends, powers of two and their neighbours, small numbers, runs of ones, or anything. */
export function integer(random: Random, bits: number): bigint {
  const width = BigInt(bits);
  const wrap = (value: bigint): bigint => BigInt.asUintN(bits, value);
  switch (random.below(12)) {
    case 0:
      return 0n;
    case 1:
      return wrap(random.chance(0.5) ? 1n : -1n);
    case 2:
      return wrap((1n << (width - 1n)) - BigInt(random.below(2)));
    case 3:
      return wrap((1n << BigInt(random.below(bits))) - BigInt(random.below(3)));
    case 4:
      return wrap(BigInt(random.between(-130, 130)));
    case 5:
      return wrap(-1n << BigInt(random.below(bits)));
    case 6:
      return wrap(random.bits(random.between(1, bits)));
    case 7:
      return wrap(-random.bits(random.between(1, bits)));
    default:
      return random.bits(bits);
  }
}

interface FloatFormat {
  exponentBits: number;
  fractionBits: number;
}
const formats: Partial<Record<ValueClass, FloatFormat>> = {
  f16: { exponentBits: 5, fractionBits: 10 },
  bf16: { exponentBits: 8, fractionBits: 7 },
  f32: { exponentBits: 8, fractionBits: 23 },
  f64: { exponentBits: 11, fractionBits: 52 },
};

/** A fraction: none, few leading bits, one unit in the last place, all ones, or anything. */
function fraction(random: Random, bits: number): bigint {
  const width = BigInt(bits);
  switch (random.below(7)) {
    case 0:
      return 0n;
    case 1:
      return BigInt.asUintN(bits, random.bits(Math.min(4, bits)) << (width - BigInt(Math.min(4, bits))));
    case 2:
      return BigInt.asUintN(bits, BigInt(random.between(1, 3)));
    case 3:
      return BigInt.asUintN(bits, -BigInt(random.between(1, 3)));
    case 4:
      return BigInt.asUintN(bits, random.bits(bits) & (-1n << BigInt(random.below(bits))));
    default:
      return random.bits(bits);
  }
}

/** An IEEE 754 number of a format with an implicit leading bit. */
function ieee(random: Random, { exponentBits, fractionBits }: FloatFormat): bigint {
  const top = (1 << exponentBits) - 1;
  const bias = top >> 1;
  const quiet = 1n << BigInt(fractionBits - 1);
  const sign = BigInt(random.below(2));
  const make = (exponent: number, value: bigint): bigint => (((sign << BigInt(exponentBits)) | BigInt(exponent)) << BigInt(fractionBits)) | value;
  switch (random.below(20)) {
    case 0:
      return make(0, 0n);
    case 1:
      return make(top, 0n);
    case 2:
      return make(top, quiet | random.bits(fractionBits - 1));
    case 3:
      return make(top, random.bits(fractionBits - 1) || 1n);
    case 4:
      return make(0, fraction(random, fractionBits) || 1n);
    case 5:
      return make(random.between(1, 3), fraction(random, fractionBits));
    case 6:
      return make(top - random.between(1, 3), fraction(random, fractionBits));
    case 7:
      return make(random.between(1, top - 1), fraction(random, fractionBits));
    case 8:
      return make(bias, 0n);
    case 9:
      return make(Math.min(top - 1, bias + random.between(0, fractionBits + 10)), fraction(random, fractionBits));
    case 10:
      return make(Math.min(top - 1, bias + random.pick([7, 8, 15, 16, 30, 31, 32, 62, 63, 64])), fraction(random, fractionBits));
    default:
      return make(Math.min(top - 1, Math.max(1, bias + random.between(-6, 8))), fraction(random, fractionBits));
  }
}

/** An 80-bit number of the x87, the encodings that it refuses (unnormals, pseudo-infinities, pseudo-NaNs) included. */
function extended(random: Random): bigint {
  const sign = BigInt(random.below(2));
  const one = 1n << 63n;
  const make = (exponent: number, significand: bigint): bigint => (((sign << 15n) | BigInt(exponent)) << 64n) | significand;
  const normal = (exponent: number): bigint => make(exponent, one | fraction(random, 63));
  switch (random.below(24)) {
    case 0:
      return make(0, 0n);
    case 1:
      return make(0x7fff, one);
    case 2:
      return make(0x7fff, one | (1n << 62n) | random.bits(62));
    case 3:
      return make(0x7fff, one | (random.bits(62) || 1n));
    case 4:
      return make(0, fraction(random, 63) || 1n);
    case 5:
      return random.chance(0.5) ? make(0, one | fraction(random, 63)) : make(random.between(1, 0x7fff), fraction(random, 63));
    case 6:
      return normal(random.between(1, 70));
    case 7:
      return normal(0x7ffe - random.below(70));
    case 8:
      return normal(random.between(1, 0x7ffe));
    case 9:
      return make(0x3fff, one);
    case 10:
      return normal(0x3fff + random.between(0, 75));
    case 11:
      return normal(0x3fff + random.pick([14, 15, 16, 30, 31, 32, 62, 63, 64]));
    case 12:
      return normal(0x3fff + random.pick([-1023, -1022, -149, -127, -126, 127, 128, 1023, 1024]) + random.between(-2, 2));
    case 13:
      return make(0x3fff + random.between(0, 40), one | (random.bits(63) & (-1n << BigInt(random.between(10, 62)))));
    default:
      return normal(0x3fff + random.between(-8, 10));
  }
}

function packedDecimal(random: Random): bigint {
  let value = BigInt(random.below(2)) << 79n;
  const digits = random.between(0, 18);
  for (let i = 0; i < digits; i++) value |= BigInt(random.below(10)) << BigInt(4 * i);
  return random.chance(0.08) ? random.bits(80) : value;
}

/** A value of a class. */
export function valueOf(random: Random, kind: ValueClass): bigint {
  if (kind === 'f80') return extended(random);
  if (kind === 'bcd80') return packedDecimal(random);
  const format = formats[kind];
  return format ? ieee(random, format) : integer(random, widths[kind]);
}

/** Fills so many bytes with values of a class; now and then every lane is the same, or lanes repeat. */
export function lanes(random: Random, kind: ValueClass, bytes: number): Uint8Array {
  const result = new Uint8Array(bytes);
  const step = widths[kind] / 8;
  const same = random.chance(0.06);
  let value = valueOf(random, kind);
  for (let at = 0; at < bytes; at += step) {
    if (!same && !random.chance(0.04)) value = valueOf(random, kind);
    let rest = value;
    for (let i = at; i < Math.min(bytes, at + step); i++) {
      result[i] = Number(rest & 0xffn);
      rest >>= 8n;
    }
  }
  return result;
}
