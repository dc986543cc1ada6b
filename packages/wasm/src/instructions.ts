/** Value types of WebAssembly that are used here. */
export type ValueType = 'i32' | 'i64' | 'f32' | 'f64' | 'v128';

/** The encoding of a value type. */
export const VALUE_TYPE: Record<ValueType, number> = { i32: 0x7f, i64: 0x7e, f32: 0x7d, f64: 0x7c, v128: 0x7b };

/** A numeric or vector instruction without immediates (or with one lane immediate): its opcode and its signature. */
export interface NumericInstruction {
  readonly name: string;
  /** 0, or the prefix byte 0xfc or 0xfd. */
  readonly prefix: number;
  readonly opcode: number;
  readonly params: readonly ValueType[];
  readonly result: ValueType;
  /** Takes a lane index byte after the opcode. */
  readonly lane: boolean;
}

/** A load or store: its opcode, the value's type, and log2 of the access width. */
export interface MemoryInstruction {
  readonly name: string;
  readonly prefix: number;
  readonly opcode: number;
  readonly type: ValueType;
  readonly align: number;
  /** Bytes accessed. */
  readonly bytes: number;
}

const numeric: Record<string, NumericInstruction> = {};

const add = (prefix: number, opcode: number, name: string, params: readonly ValueType[], result: ValueType, lane = false): void => {
  numeric[name] = { name, prefix, opcode, params, result, lane };
};

/** Consecutive opcodes of one signature; `_` skips a number. Names are `type.op`. */
const run = (prefix: number, first: number, type: string, names: string, params: readonly ValueType[], result: ValueType): void => {
  for (const [i, op] of names.split(' ').entries()) if (op !== '_') add(prefix, first + i, `${type}.${op}`, params, result);
};

const COMPARE_INT = 'eq ne lt_s lt_u gt_s gt_u le_s le_u ge_s ge_u';
const COMPARE_FLOAT = 'eq ne lt gt le ge';
const BINARY_INT = 'add sub mul div_s div_u rem_s rem_u and or xor shl shr_s shr_u rotl rotr';
const UNARY_FLOAT = 'abs neg ceil floor trunc nearest sqrt';
const BINARY_FLOAT = 'add sub mul div min max copysign';

// WebAssembly Core Specification, "Numeric Instructions" (binary format), in opcode order.
for (const [type, compare, arithmetic] of [
  ['i32', 0x45, 0x67],
  ['i64', 0x50, 0x79],
] as const) {
  run(0, compare, type, 'eqz', [type], 'i32');
  run(0, compare + 1, type, COMPARE_INT, [type, type], 'i32');
  run(0, arithmetic, type, 'clz ctz popcnt', [type], type);
  run(0, arithmetic + 3, type, BINARY_INT, [type, type], type);
}
for (const [type, compare, arithmetic] of [
  ['f32', 0x5b, 0x8b],
  ['f64', 0x61, 0x99],
] as const) {
  run(0, compare, type, COMPARE_FLOAT, [type, type], 'i32');
  run(0, arithmetic, type, UNARY_FLOAT, [type], type);
  run(0, arithmetic + 7, type, BINARY_FLOAT, [type, type], type);
}
add(0, 0xa7, 'i32.wrap_i64', ['i64'], 'i32');
for (const [i, [name, from, to]] of (
  [
    ['i32.trunc_f32_s', 'f32', 'i32'],
    ['i32.trunc_f32_u', 'f32', 'i32'],
    ['i32.trunc_f64_s', 'f64', 'i32'],
    ['i32.trunc_f64_u', 'f64', 'i32'],
    ['i64.extend_i32_s', 'i32', 'i64'],
    ['i64.extend_i32_u', 'i32', 'i64'],
    ['i64.trunc_f32_s', 'f32', 'i64'],
    ['i64.trunc_f32_u', 'f32', 'i64'],
    ['i64.trunc_f64_s', 'f64', 'i64'],
    ['i64.trunc_f64_u', 'f64', 'i64'],
    ['f32.convert_i32_s', 'i32', 'f32'],
    ['f32.convert_i32_u', 'i32', 'f32'],
    ['f32.convert_i64_s', 'i64', 'f32'],
    ['f32.convert_i64_u', 'i64', 'f32'],
    ['f32.demote_f64', 'f64', 'f32'],
    ['f64.convert_i32_s', 'i32', 'f64'],
    ['f64.convert_i32_u', 'i32', 'f64'],
    ['f64.convert_i64_s', 'i64', 'f64'],
    ['f64.convert_i64_u', 'i64', 'f64'],
    ['f64.promote_f32', 'f32', 'f64'],
    ['i32.reinterpret_f32', 'f32', 'i32'],
    ['i64.reinterpret_f64', 'f64', 'i64'],
    ['f32.reinterpret_i32', 'i32', 'f32'],
    ['f64.reinterpret_i64', 'i64', 'f64'],
    ['i32.extend8_s', 'i32', 'i32'],
    ['i32.extend16_s', 'i32', 'i32'],
    ['i64.extend8_s', 'i64', 'i64'],
    ['i64.extend16_s', 'i64', 'i64'],
    ['i64.extend32_s', 'i64', 'i64'],
  ] as const
).entries())
  add(0, 0xa8 + i, name, [from], to);
for (const [i, [name, from, to]] of (
  [
    ['i32.trunc_sat_f32_s', 'f32', 'i32'],
    ['i32.trunc_sat_f32_u', 'f32', 'i32'],
    ['i32.trunc_sat_f64_s', 'f64', 'i32'],
    ['i32.trunc_sat_f64_u', 'f64', 'i32'],
    ['i64.trunc_sat_f32_s', 'f32', 'i64'],
    ['i64.trunc_sat_f32_u', 'f32', 'i64'],
    ['i64.trunc_sat_f64_s', 'f64', 'i64'],
    ['i64.trunc_sat_f64_u', 'f64', 'i64'],
  ] as const
).entries())
  add(0xfc, i, name, [from], to);

// "Vector Instructions" (prefix 0xfd), in opcode order.
const V: readonly ValueType[] = ['v128'];
const VV: readonly ValueType[] = ['v128', 'v128'];
const VI: readonly ValueType[] = ['v128', 'i32'];
const vector1 = (first: number, type: string, names: string): void => run(0xfd, first, type, names, V, 'v128');
const vector2 = (first: number, type: string, names: string): void => run(0xfd, first, type, names, VV, 'v128');
const shifts = (first: number, type: string): void => run(0xfd, first, type, 'shl shr_s shr_u', VI, 'v128');
const tests = (first: number, type: string, names: string): void => run(0xfd, first, type, names, V, 'i32');

vector2(14, 'i8x16', 'swizzle');
for (const [i, [shape, lane]] of (
  [
    ['i8x16', 'i32'],
    ['i16x8', 'i32'],
    ['i32x4', 'i32'],
    ['i64x2', 'i64'],
    ['f32x4', 'f32'],
    ['f64x2', 'f64'],
  ] as const
).entries())
  add(0xfd, 15 + i, `${shape}.splat`, [lane], 'v128');
for (const [opcode, name, lane] of [
  [21, 'i8x16.extract_lane_s', 'i32'],
  [22, 'i8x16.extract_lane_u', 'i32'],
  [24, 'i16x8.extract_lane_s', 'i32'],
  [25, 'i16x8.extract_lane_u', 'i32'],
  [27, 'i32x4.extract_lane', 'i32'],
  [29, 'i64x2.extract_lane', 'i64'],
  [31, 'f32x4.extract_lane', 'f32'],
  [33, 'f64x2.extract_lane', 'f64'],
] as const)
  add(0xfd, opcode, name, V, lane, true);
for (const [opcode, shape, lane] of [
  [23, 'i8x16', 'i32'],
  [26, 'i16x8', 'i32'],
  [28, 'i32x4', 'i32'],
  [30, 'i64x2', 'i64'],
  [32, 'f32x4', 'f32'],
  [34, 'f64x2', 'f64'],
] as const)
  add(0xfd, opcode, `${shape}.replace_lane`, ['v128', lane], 'v128', true);
for (const [i, type] of ['i8x16', 'i16x8', 'i32x4'].entries()) vector2(35 + 10 * i, type, COMPARE_INT);
vector2(65, 'f32x4', COMPARE_FLOAT);
vector2(71, 'f64x2', COMPARE_FLOAT);
vector1(77, 'v128', 'not');
vector2(78, 'v128', 'and andnot or xor');
add(0xfd, 82, 'v128.bitselect', ['v128', 'v128', 'v128'], 'v128');
tests(83, 'v128', 'any_true');
vector1(94, 'f32x4', 'demote_f64x2_zero');
vector1(95, 'f64x2', 'promote_low_f32x4');
vector1(96, 'i8x16', 'abs neg popcnt');
tests(99, 'i8x16', 'all_true bitmask');
vector2(101, 'i8x16', 'narrow_i16x8_s narrow_i16x8_u');
vector1(103, 'f32x4', 'ceil floor trunc nearest');
shifts(107, 'i8x16');
vector2(110, 'i8x16', 'add add_sat_s add_sat_u sub sub_sat_s sub_sat_u');
vector1(116, 'f64x2', 'ceil floor');
vector2(118, 'i8x16', 'min_s min_u max_s max_u');
vector1(122, 'f64x2', 'trunc');
vector2(123, 'i8x16', 'avgr_u');
vector1(124, 'i16x8', 'extadd_pairwise_i8x16_s extadd_pairwise_i8x16_u');
vector1(126, 'i32x4', 'extadd_pairwise_i16x8_s extadd_pairwise_i16x8_u');
vector1(128, 'i16x8', 'abs neg');
vector2(130, 'i16x8', 'q15mulr_sat_s');
tests(131, 'i16x8', 'all_true bitmask');
vector2(133, 'i16x8', 'narrow_i32x4_s narrow_i32x4_u');
vector1(135, 'i16x8', 'extend_low_i8x16_s extend_high_i8x16_s extend_low_i8x16_u extend_high_i8x16_u');
shifts(139, 'i16x8');
vector2(142, 'i16x8', 'add add_sat_s add_sat_u sub sub_sat_s sub_sat_u');
vector1(148, 'f64x2', 'nearest');
vector2(149, 'i16x8', 'mul min_s min_u max_s max_u _ avgr_u extmul_low_i8x16_s extmul_high_i8x16_s extmul_low_i8x16_u extmul_high_i8x16_u');
vector1(160, 'i32x4', 'abs neg');
tests(163, 'i32x4', 'all_true bitmask');
vector1(167, 'i32x4', 'extend_low_i16x8_s extend_high_i16x8_s extend_low_i16x8_u extend_high_i16x8_u');
shifts(171, 'i32x4');
vector2(
  174,
  'i32x4',
  'add _ _ sub _ _ _ mul min_s min_u max_s max_u dot_i16x8_s _ extmul_low_i16x8_s extmul_high_i16x8_s extmul_low_i16x8_u extmul_high_i16x8_u',
);
vector1(192, 'i64x2', 'abs neg');
tests(195, 'i64x2', 'all_true bitmask');
vector1(199, 'i64x2', 'extend_low_i32x4_s extend_high_i32x4_s extend_low_i32x4_u extend_high_i32x4_u');
shifts(203, 'i64x2');
vector2(
  206,
  'i64x2',
  'add _ _ sub _ _ _ mul eq ne lt_s gt_s le_s ge_s extmul_low_i32x4_s extmul_high_i32x4_s extmul_low_i32x4_u extmul_high_i32x4_u',
);
for (const [first, type] of [
  [224, 'f32x4'],
  [236, 'f64x2'],
] as const) {
  vector1(first, type, 'abs neg _ sqrt');
  vector2(first + 4, type, 'add sub mul div min max pmin pmax');
}
vector1(248, 'i32x4', 'trunc_sat_f32x4_s trunc_sat_f32x4_u');
vector1(250, 'f32x4', 'convert_i32x4_s convert_i32x4_u');
vector1(252, 'i32x4', 'trunc_sat_f64x2_s_zero trunc_sat_f64x2_u_zero');
vector1(254, 'f64x2', 'convert_low_i32x4_s convert_low_i32x4_u');

/** All instructions that only compute, by name. */
export const NUMERIC: Readonly<Record<string, NumericInstruction>> = numeric;

const memory: Record<string, MemoryInstruction> = {};
for (const [prefix, opcode, name, type, bytes] of [
  [0, 0x28, 'i32.load', 'i32', 4],
  [0, 0x29, 'i64.load', 'i64', 8],
  [0, 0x2a, 'f32.load', 'f32', 4],
  [0, 0x2b, 'f64.load', 'f64', 8],
  [0, 0x2c, 'i32.load8_s', 'i32', 1],
  [0, 0x2d, 'i32.load8_u', 'i32', 1],
  [0, 0x2e, 'i32.load16_s', 'i32', 2],
  [0, 0x2f, 'i32.load16_u', 'i32', 2],
  [0, 0x30, 'i64.load8_s', 'i64', 1],
  [0, 0x31, 'i64.load8_u', 'i64', 1],
  [0, 0x32, 'i64.load16_s', 'i64', 2],
  [0, 0x33, 'i64.load16_u', 'i64', 2],
  [0, 0x34, 'i64.load32_s', 'i64', 4],
  [0, 0x35, 'i64.load32_u', 'i64', 4],
  [0, 0x36, 'i32.store', 'i32', 4],
  [0, 0x37, 'i64.store', 'i64', 8],
  [0, 0x38, 'f32.store', 'f32', 4],
  [0, 0x39, 'f64.store', 'f64', 8],
  [0, 0x3a, 'i32.store8', 'i32', 1],
  [0, 0x3b, 'i32.store16', 'i32', 2],
  [0, 0x3c, 'i64.store8', 'i64', 1],
  [0, 0x3d, 'i64.store16', 'i64', 2],
  [0, 0x3e, 'i64.store32', 'i64', 4],
  [0xfd, 0, 'v128.load', 'v128', 16],
  [0xfd, 7, 'v128.load8_splat', 'v128', 1],
  [0xfd, 8, 'v128.load16_splat', 'v128', 2],
  [0xfd, 9, 'v128.load32_splat', 'v128', 4],
  [0xfd, 10, 'v128.load64_splat', 'v128', 8],
  [0xfd, 11, 'v128.store', 'v128', 16],
  [0xfd, 92, 'v128.load32_zero', 'v128', 4],
  [0xfd, 93, 'v128.load64_zero', 'v128', 8],
] as const)
  memory[name] = { name, prefix, opcode, type, align: 0, bytes };

/** All loads and stores, by name. */
export const MEMORY: Readonly<Record<string, MemoryInstruction>> = memory;
