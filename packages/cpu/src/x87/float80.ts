/**
 * Double-extended arithmetic on exact integers (SDM Vol. 1, "Programming with the x87 FPU"): every result is computed exactly (or with a sticky bit) and
 * rounded once. Clear rather than fast: the x87 is rare in guests that matter.
 */

/** A register's value: sign, biased exponent (15 bits), significand with its explicit integer bit. */
export interface Float80 {
  readonly sign: 0 | 1;
  readonly exponent: number;
  readonly significand: bigint;
}

/** Exception flags as in the status word; C1 says that rounding went up, or that a stack fault was an overflow. */
export const Flag = { IE: 1, DE: 2, ZE: 4, OE: 8, UE: 16, PE: 32, SF: 64, C1: 0x200 } as const;

/** Rounding of one operation: precision in bits and rounding control (0 nearest, 1 down, 2 up, 3 toward zero); and the masks. */
export interface Rounding {
  readonly precision: number;
  readonly control: number;
  readonly masks: number;
}

/** A result and what it raised. */
export interface Result {
  readonly value: Float80;
  readonly flags: number;
}

const INTEGER_BIT = 1n << 63n;
const QUIET_BIT = 1n << 62n;
const BIAS = 16383;
const MAX_EXPONENT = 0x7fff;
const SMALLEST = 1 - BIAS;
/** Exponent adjustment of unmasked overflow and underflow. */
const WRAP = 24576;

export const zero = (sign: 0 | 1): Float80 => ({ sign, exponent: 0, significand: 0n });
export const infinity = (sign: 0 | 1): Float80 => ({ sign, exponent: MAX_EXPONENT, significand: INTEGER_BIT });
/** The real indefinite: what masked invalid operations give. */
export const INDEFINITE: Float80 = { sign: 1, exponent: MAX_EXPONENT, significand: INTEGER_BIT | QUIET_BIT };

export const isZero = (f: Float80): boolean => f.exponent === 0 && f.significand === 0n;
export const isNan = (f: Float80): boolean => f.exponent === MAX_EXPONENT && (f.significand & INTEGER_BIT) !== 0n && f.significand !== INTEGER_BIT;
export const isSignaling = (f: Float80): boolean => isNan(f) && (f.significand & QUIET_BIT) === 0n;
export const isInfinite = (f: Float80): boolean => f.exponent === MAX_EXPONENT && f.significand === INTEGER_BIT;
export const isDenormal = (f: Float80): boolean => f.exponent === 0 && f.significand !== 0n;
/** Encodings without meaning since the 387: a nonzero exponent without the integer bit. */
export const isUnsupported = (f: Float80): boolean => f.exponent !== 0 && (f.significand & INTEGER_BIT) === 0n;

const bitLength = (n: bigint): number => (n === 0n ? 0 : n.toString(2).length);

/** A finite value as significand × 2^exponent. */
export const exponentOf = (f: Float80): number => (f.exponent === 0 ? 1 : f.exponent) - BIAS - 63;

function roundsUp(odd: boolean, rest: bigint, half: bigint, sign: 0 | 1, control: number): boolean {
  if (rest === 0n) return false;
  if (control === 0) return rest > half || (rest === half && odd);
  return control === 1 ? sign === 1 : control === 2 ? sign === 0 : false;
}

/** Cuts a magnitude × 2^exponent to a multiple of 2^quantum. */
function quantize(
  sign: 0 | 1,
  magnitude: bigint,
  exponent: number,
  quantum: number,
  control: number,
): { units: bigint; inexact: boolean; up: boolean } {
  const shift = quantum - exponent;
  if (shift <= 0) return { units: magnitude << BigInt(-shift), inexact: false, up: false };
  const distance = BigInt(shift);
  const units = magnitude >> distance;
  const rest = magnitude - (units << distance);
  const up = roundsUp((units & 1n) === 1n, rest, 1n << (distance - 1n), sign, control);
  return { units: up ? units + 1n : units, inexact: rest !== 0n, up };
}

function overflowed(sign: 0 | 1, rounding: Rounding): Result {
  const toInfinity = rounding.control === 0 || (rounding.control === 1 && sign === 1) || (rounding.control === 2 && sign === 0);
  const ones = ((1n << BigInt(rounding.precision)) - 1n) << BigInt(64 - rounding.precision);
  return {
    value: toInfinity ? infinity(sign) : { sign, exponent: MAX_EXPONENT - 1, significand: ones },
    flags: Flag.OE | Flag.PE | (toInfinity ? Flag.C1 : 0),
  };
}

/** Rounds magnitude × 2^exponent (magnitude > 0; its lowest bit may be sticky) to a register value. */
export function round(sign: 0 | 1, magnitude: bigint, exponent: number, rounding: Rounding): Result {
  const { precision, control, masks } = rounding;
  const top = exponent + bitLength(magnitude) - 1;
  const free = quantize(sign, magnitude, exponent, top - precision + 1, control);
  const freeTop = bitLength(free.units) > precision ? top + 1 : top;
  const tiny = freeTop < SMALLEST;
  if (freeTop > BIAS && (masks & Flag.OE) !== 0) return overflowed(sign, rounding);
  let adjust = 0;
  let flags = 0;
  if (freeTop > BIAS) {
    adjust = -WRAP;
    flags |= Flag.OE;
  } else if (tiny && (masks & Flag.UE) === 0) {
    adjust = WRAP;
    flags |= Flag.UE;
  }
  const bounded = adjust === 0 && tiny;
  const quantum = bounded ? Math.max(top, SMALLEST) - precision + 1 : top - precision + 1;
  const cut = bounded ? quantize(sign, magnitude, exponent, Math.max(quantum, SMALLEST - 63), control) : free;
  const lsb = bounded ? Math.max(quantum, SMALLEST - 63) : quantum;
  if (cut.inexact) flags |= Flag.PE | (bounded ? Flag.UE : 0) | (cut.up ? Flag.C1 : 0);
  return { value: pack(sign, cut.units, lsb, adjust), flags };
}

/** An exact number of units × 2^lsb, at most 64 bits wide, as a register value. */
function pack(sign: 0 | 1, units: bigint, lsb: number, adjust: number): Float80 {
  if (units === 0n) return zero(sign);
  const top = lsb + bitLength(units) - 1 + adjust;
  if (top < SMALLEST) return { sign, exponent: 0, significand: units << BigInt(lsb + adjust - (SMALLEST - 63)) };
  return { sign, exponent: top + BIAS, significand: units << BigInt(64 - bitLength(units)) };
}

/** The value of an integer. */
export function fromInteger(n: bigint): Float80 {
  const sign = n < 0n ? 1 : 0;
  return pack(sign, n < 0n ? -n : n, 0, 0);
}

/** x86's choice among NaN operands: the larger significand, made quiet. */
function propagate(a: Float80, b: Float80): Float80 {
  const quiet = (f: Float80): Float80 => ({ ...f, significand: f.significand | QUIET_BIT });
  if (!isNan(a)) return quiet(b);
  if (!isNan(b)) return quiet(a);
  if (isSignaling(a) !== isSignaling(b)) return quiet(isSignaling(a) ? b : a);
  if (a.significand !== b.significand) return quiet(a.significand > b.significand ? a : b);
  return quiet(a.sign === 0 ? a : b);
}

/** What operands alone decide: unsupported encodings, NaNs; else null. */
export function specialOperands(a: Float80, b: Float80): Result | null {
  if (isUnsupported(a) || isUnsupported(b)) return { value: INDEFINITE, flags: Flag.IE };
  if (!isNan(a) && !isNan(b)) return null;
  return { value: propagate(a, b), flags: isSignaling(a) || isSignaling(b) ? Flag.IE : 0 };
}

const invalid: Result = { value: INDEFINITE, flags: Flag.IE };
const denormals = (a: Float80, b: Float80): number => (isDenormal(a) || isDenormal(b) ? Flag.DE : 0);
const withFlags = (r: Result, flags: number): Result => ({ value: r.value, flags: r.flags | flags });
const negate = (f: Float80): Float80 => ({ ...f, sign: f.sign === 0 ? 1 : 0 });

/** a + b. */
export function add(a: Float80, b: Float80, rounding: Rounding): Result {
  const special = specialOperands(a, b);
  if (special) return special;
  if (isInfinite(a) || isInfinite(b)) {
    if (isInfinite(a) && isInfinite(b) && a.sign !== b.sign) return invalid;
    return { value: isInfinite(a) ? a : b, flags: denormals(a, b) };
  }
  const exponent = Math.min(exponentOf(a), exponentOf(b));
  const signed = (f: Float80): bigint => (f.sign === 1 ? -1n : 1n) * (f.significand << BigInt(exponentOf(f) - exponent));
  const sum = signed(a) + signed(b);
  if (sum === 0n) {
    const both = isZero(a) && isZero(b) && a.sign === b.sign;
    return { value: zero(both ? a.sign : rounding.control === 1 ? 1 : 0), flags: denormals(a, b) };
  }
  return withFlags(round(sum < 0n ? 1 : 0, sum < 0n ? -sum : sum, exponent, rounding), denormals(a, b));
}

/** a - b; a NaN b keeps its sign. */
export const subtract = (a: Float80, b: Float80, rounding: Rounding): Result => specialOperands(a, b) ?? add(a, negate(b), rounding);

/** a × b. */
export function multiply(a: Float80, b: Float80, rounding: Rounding): Result {
  const special = specialOperands(a, b);
  if (special) return special;
  const sign = (a.sign ^ b.sign) as 0 | 1;
  if (isInfinite(a) || isInfinite(b)) return isZero(a) || isZero(b) ? invalid : { value: infinity(sign), flags: denormals(a, b) };
  if (isZero(a) || isZero(b)) return { value: zero(sign), flags: denormals(a, b) };
  return withFlags(round(sign, a.significand * b.significand, exponentOf(a) + exponentOf(b), rounding), denormals(a, b));
}

/** a ÷ b. */
export function divide(a: Float80, b: Float80, rounding: Rounding): Result {
  const special = specialOperands(a, b);
  if (special) return special;
  const sign = (a.sign ^ b.sign) as 0 | 1;
  if (isInfinite(a)) return isInfinite(b) ? invalid : { value: infinity(sign), flags: denormals(a, b) };
  if (isInfinite(b)) return { value: zero(sign), flags: denormals(a, b) };
  if (isZero(b)) return isZero(a) ? invalid : { value: infinity(sign), flags: Flag.ZE | denormals(a, b) };
  if (isZero(a)) return { value: zero(sign), flags: denormals(a, b) };
  const shift = 130n;
  const quotient = (a.significand << shift) / b.significand;
  const sticky = quotient * b.significand === a.significand << shift ? 0n : 1n;
  return withFlags(round(sign, (quotient << 1n) | sticky, exponentOf(a) - exponentOf(b) - 131, rounding), denormals(a, b));
}

/** Integer square root. */
function rootOf(n: bigint): bigint {
  let x = 1n << BigInt((bitLength(n) + 1) >> 1);
  for (;;) {
    const y = (x + n / x) >> 1n;
    if (y >= x) return x;
    x = y;
  }
}

/** √a. */
export function squareRoot(a: Float80, rounding: Rounding): Result {
  const special = specialOperands(a, a);
  if (special) return special;
  if (isZero(a)) return { value: a, flags: 0 };
  if (a.sign === 1) return invalid;
  if (isInfinite(a)) return { value: a, flags: 0 };
  const odd = exponentOf(a) & 1;
  const n = a.significand << BigInt(130 + odd);
  const root = rootOf(n);
  const sticky = root * root === n ? 0n : 1n;
  return withFlags(round(0, (root << 1n) | sticky, (exponentOf(a) - 130 - odd) / 2 - 1, rounding), denormals(a, a));
}

/** -1, 0, 1, or 2 when unordered. */
export function compare(a: Float80, b: Float80): -1 | 0 | 1 | 2 {
  if (isNan(a) || isNan(b) || isUnsupported(a) || isUnsupported(b)) return 2;
  if (isZero(a) && isZero(b)) return 0;
  const key = (f: Float80): bigint => (f.sign === 1 ? -1n : 1n) * ((BigInt(Math.max(1, f.exponent)) << 64n) | f.significand);
  const [x, y] = [isZero(a) ? 0n : key(a), isZero(b) ? 0n : key(b)];
  return x < y ? -1 : x > y ? 1 : 0;
}

/** To an integer of `bits` bits: the integer indefinite (with IE) when it does not fit. */
export function toInteger(a: Float80, bits: number, control: number): { value: bigint; flags: number } {
  const indefinite = { value: -(1n << BigInt(bits - 1)), flags: Flag.IE };
  if (a.exponent === MAX_EXPONENT || isUnsupported(a)) return indefinite;
  if (exponentOf(a) > 64) return indefinite;
  const { units, inexact, up } = quantize(a.sign, a.significand, exponentOf(a), 0, control);
  const value = a.sign === 1 ? -units : units;
  if (value !== BigInt.asIntN(bits, value)) return indefinite;
  return { value, flags: (inexact ? Flag.PE : 0) | (up ? Flag.C1 : 0) };
}

/** To an integral value in the same format. */
export function toIntegral(a: Float80, control: number): Result {
  const special = specialOperands(a, a);
  if (special) return special;
  if (isZero(a) || exponentOf(a) >= 0) return { value: a, flags: 0 };
  const { units, inexact, up } = quantize(a.sign, a.significand, exponentOf(a), 0, control);
  return { value: pack(a.sign, units, 0, 0), flags: denormals(a, a) | (inexact ? Flag.PE : 0) | (up ? Flag.C1 : 0) };
}

interface Format {
  readonly fraction: number;
  readonly exponentBits: number;
}
export const SINGLE: Format = { fraction: 23, exponentBits: 8 };
export const DOUBLE: Format = { fraction: 52, exponentBits: 11 };

/** A narrower format's bits as a register value; signaling NaNs become quiet with IE, denormals raise DE. */
export function widen(bits: bigint, format: Format): Result {
  const fraction = bits & ((1n << BigInt(format.fraction)) - 1n);
  const all = (1 << format.exponentBits) - 1;
  const exponent = Number(bits >> BigInt(format.fraction)) & all;
  const sign = (Number(bits >> BigInt(format.fraction + format.exponentBits)) & 1) as 0 | 1;
  const placed = fraction << BigInt(63 - format.fraction);
  if (exponent === all) {
    if (fraction === 0n) return { value: infinity(sign), flags: 0 };
    return {
      value: { sign, exponent: MAX_EXPONENT, significand: INTEGER_BIT | QUIET_BIT | placed },
      flags: (placed & QUIET_BIT) === 0n ? Flag.IE : 0,
    };
  }
  if (exponent === 0) {
    if (fraction === 0n) return { value: zero(sign), flags: 0 };
    return { value: pack(sign, fraction, 1 - (all >> 1) - format.fraction, 0), flags: Flag.DE };
  }
  return { value: { sign, exponent: exponent - (all >> 1) + BIAS, significand: INTEGER_BIT | placed }, flags: 0 };
}

/** A register value rounded to a narrower format's bits. */
export function narrow(a: Float80, format: Format, control: number): { bits: bigint; flags: number } {
  const all = (1 << format.exponentBits) - 1;
  const bias = all >> 1;
  const assemble = (exponent: number, fraction: bigint): bigint =>
    (BigInt(a.sign) << BigInt(format.fraction + format.exponentBits)) | (BigInt(exponent) << BigInt(format.fraction)) | fraction;
  const mask = (1n << BigInt(format.fraction)) - 1n;
  if (isUnsupported(a))
    return {
      bits: (1n << BigInt(format.fraction + format.exponentBits)) | (BigInt(all) << BigInt(format.fraction)) | (1n << BigInt(format.fraction - 1)),
      flags: Flag.IE,
    };
  if (isNan(a))
    return { bits: assemble(all, ((a.significand | QUIET_BIT) >> BigInt(63 - format.fraction)) & mask), flags: isSignaling(a) ? Flag.IE : 0 };
  if (isInfinite(a)) return { bits: assemble(all, 0n), flags: 0 };
  if (isZero(a)) return { bits: assemble(0, 0n), flags: 0 };
  const top = exponentOf(a) + bitLength(a.significand) - 1;
  const free = quantize(a.sign, a.significand, exponentOf(a), top - format.fraction, control);
  const freeTop = bitLength(free.units) > format.fraction + 1 ? top + 1 : top;
  if (freeTop > bias) {
    const up = control === 0 || (control === 1 && a.sign === 1) || (control === 2 && a.sign === 0);
    return { bits: up ? assemble(all, 0n) : assemble(all - 1, mask), flags: Flag.OE | Flag.PE | (up ? Flag.C1 : 0) };
  }
  const smallest = 1 - bias;
  const quantum = Math.max(top, smallest) - format.fraction;
  const cut = quantize(a.sign, a.significand, exponentOf(a), quantum, control);
  const flags = cut.inexact ? Flag.PE | (cut.up ? Flag.C1 : 0) | (freeTop < smallest ? Flag.UE : 0) : 0;
  // Adding the units to the exponent field carries into it by itself: at the top of a binade, and from denormal to normal.
  const base = top < smallest ? 0n : BigInt(top + bias - 1) << BigInt(format.fraction);
  return { bits: assemble(0, 0n) | (base + cut.units), flags };
}
