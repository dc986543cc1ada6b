import type { Value } from './calculator.js';

type Operation = (a: never, b: never) => Value;
type Int32 = (a: number, b: number) => number;
type Int64 = (a: bigint, b: bigint) => bigint | number;

/** A trap of WebAssembly: what code must guard against. */
const trap = (what: string): never => {
  throw new RangeError(what);
};
const wrap = (value: bigint): bigint => BigInt.asIntN(64, value);
const unsigned = (value: bigint): bigint => BigInt.asUintN(64, value);
const rotate32 = (a: number, n: number): number => (a << (n & 31)) | (n & 31 ? a >>> (32 - (n & 31)) : 0);
const rotate64 = (a: bigint, n: bigint): bigint => wrap((unsigned(a) << (n & 63n)) | (unsigned(a) >> ((64n - (n & 63n)) & 63n)));

function count64(value: bigint, from: 'high' | 'low'): bigint {
  const bits = unsigned(value).toString(2).padStart(64, '0');
  const at = from === 'high' ? bits.indexOf('1') : bits.length - 1 - bits.lastIndexOf('1');
  return BigInt(value === 0n ? 64 : at);
}
const ones = (value: bigint): number => unsigned(value).toString(2).replaceAll('0', '').length;

const int32: Record<string, Int32> = {
  add: (a, b) => (a + b) | 0,
  sub: (a, b) => (a - b) | 0,
  mul: (a, b) => Math.imul(a, b),
  div_s: (a, b) => (b === 0 || (a === -0x80000000 && b === -1) ? trap('i32.div_s') : (a / b) | 0),
  div_u: (a, b) => (b === 0 ? trap('i32.div_u') : ((a >>> 0) / (b >>> 0)) | 0),
  rem_s: (a, b) => (b === 0 ? trap('i32.rem_s') : b === -1 ? 0 : (a % b) | 0),
  rem_u: (a, b) => (b === 0 ? trap('i32.rem_u') : ((a >>> 0) % (b >>> 0)) | 0),
  and: (a, b) => a & b,
  or: (a, b) => a | b,
  xor: (a, b) => a ^ b,
  shl: (a, b) => a << b,
  shr_s: (a, b) => a >> b,
  shr_u: (a, b) => (a >>> b) | 0,
  rotl: rotate32,
  rotr: (a, n) => rotate32(a, -n),
  eqz: (a) => Number(a === 0),
  eq: (a, b) => Number(a === b),
  ne: (a, b) => Number(a !== b),
  lt_s: (a, b) => Number(a < b),
  lt_u: (a, b) => Number(a >>> 0 < b >>> 0),
  gt_s: (a, b) => Number(a > b),
  gt_u: (a, b) => Number(a >>> 0 > b >>> 0),
  le_s: (a, b) => Number(a <= b),
  le_u: (a, b) => Number(a >>> 0 <= b >>> 0),
  ge_s: (a, b) => Number(a >= b),
  ge_u: (a, b) => Number(a >>> 0 >= b >>> 0),
  clz: (a) => Math.clz32(a),
  ctz: (a) => (a === 0 ? 32 : 31 - Math.clz32(a & -a)),
  popcnt: (a) => ones(BigInt(a >>> 0)),
  extend8_s: (a) => (a << 24) >> 24,
  extend16_s: (a) => (a << 16) >> 16,
};

const int64: Record<string, Int64> = {
  add: (a, b) => wrap(a + b),
  sub: (a, b) => wrap(a - b),
  mul: (a, b) => wrap(a * b),
  div_s: (a, b) => (b === 0n || (b === -1n && wrap(-a) === a && a !== 0n) ? trap('i64.div_s') : a / b),
  div_u: (a, b) => (b === 0n ? trap('i64.div_u') : wrap(unsigned(a) / unsigned(b))),
  rem_s: (a, b) => (b === 0n ? trap('i64.rem_s') : a % b),
  rem_u: (a, b) => (b === 0n ? trap('i64.rem_u') : wrap(unsigned(a) % unsigned(b))),
  and: (a, b) => a & b,
  or: (a, b) => a | b,
  xor: (a, b) => a ^ b,
  shl: (a, b) => wrap(a << (b & 63n)),
  shr_s: (a, b) => a >> (b & 63n),
  shr_u: (a, b) => wrap(unsigned(a) >> (b & 63n)),
  rotl: rotate64,
  rotr: (a, n) => rotate64(a, -n & 63n),
  eqz: (a) => Number(a === 0n),
  eq: (a, b) => Number(a === b),
  ne: (a, b) => Number(a !== b),
  lt_s: (a, b) => Number(a < b),
  lt_u: (a, b) => Number(unsigned(a) < unsigned(b)),
  gt_s: (a, b) => Number(a > b),
  gt_u: (a, b) => Number(unsigned(a) > unsigned(b)),
  le_s: (a, b) => Number(a <= b),
  le_u: (a, b) => Number(unsigned(a) <= unsigned(b)),
  ge_s: (a, b) => Number(a >= b),
  ge_u: (a, b) => Number(unsigned(a) >= unsigned(b)),
  clz: (a) => count64(a, 'high'),
  ctz: (a) => count64(a, 'low'),
  popcnt: (a) => BigInt(ones(a)),
  extend8_s: (a) => BigInt.asIntN(8, a),
  extend16_s: (a) => BigInt.asIntN(16, a),
  extend32_s: (a) => BigInt.asIntN(32, a),
};

const conversions: Record<string, (a: never) => Value> = {
  'i32.wrap_i64': (a: bigint) => Number(BigInt.asIntN(32, a)),
  'i64.extend_i32_s': (a: number) => BigInt(a),
  'i64.extend_i32_u': (a: number) => BigInt(a >>> 0),
  // Floats are kept as their bits.
  'i32.reinterpret_f32': (a: number) => a,
  'f32.reinterpret_i32': (a: number) => a,
  'i64.reinterpret_f64': (a: bigint) => a,
  'f64.reinterpret_i64': (a: bigint) => a,
};

const prefixed = (prefix: string, table: Record<string, Int32 | Int64>): [string, Operation][] =>
  Object.entries(table).map(([name, operation]) => [`${prefix}.${name}`, operation as Operation]);

/** Integer instructions by name, on `number` (int32) and `bigint` (int64); `RangeError` where WebAssembly traps. */
export const scalarOperations: ReadonlyMap<string, Operation> = new Map([
  ...prefixed('i32', int32),
  ...prefixed('i64', int64),
  ...(Object.entries(conversions) as [string, Operation][]),
]);
