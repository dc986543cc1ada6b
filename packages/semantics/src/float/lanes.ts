import { type Code, defineFunction, type FunctionDefinition, Kind, type Node, Val } from '@nestvm/emit';

type V = Val<128>;
/** Floating-point element types. */
export type Real = 'f32' | 'f64';
/** Elements per chunk. */
export const LANES = { f32: 4, f64: 2 } as const;
/** WebAssembly shapes. */
export const SHAPE = { f32: 'f32x4', f64: 'f64x2' } as const;
/** Integer shapes of the same elements. */
const BITS = { f32: 'i32x4', f64: 'i64x2' } as const;

/** An element's bits in an i64. */
export function laneBits(code: Code, real: Real, lane: number, value: V): Val<64> {
  return real === 'f64' ? code.lane('i64x2.extract_lane', 64, lane, value) : code.lane('i32x4.extract_lane', 32, lane, value).zext(64);
}

/** A vector with one element replaced by bits from an i64. */
export function withLaneBits(code: Code, real: Real, lane: number, into: V, bits: Val<64>): V {
  return real === 'f64' ? code.lane('i64x2.replace_lane', 128, lane, into, bits) : code.lane('i32x4.replace_lane', 128, lane, into, bits.trunc(32));
}

/**
 * An exact operation over the elements of a chunk: (vectors…, mxcsr, cpu) → result. The scalar one works on the lowest element and keeps
 * the rest of the first vector.
 */
export function overLanes(real: Real, target: FunctionDefinition, operands: number, scalar: boolean): FunctionDefinition {
  const params = [...Array.from({ length: operands }, () => 'v128' as const), 'i32' as const, 'i32' as const];
  return defineFunction(`${target.name}.${scalar ? 's' : 'p'}`, { params, results: ['v128'] }, (code) => {
    const values = Array.from({ length: operands }, (_, i) => code.param(i, 128));
    let result = values[0] as V;
    for (let lane = 0; lane < (scalar ? 1 : LANES[real]); lane++) {
      const bits = values.map((v) => laneBits(code, real, lane, v));
      result = withLaneBits(code, real, lane, result, code.call(target, 64, ...bits, code.param(operands, 32), code.param(operands + 1, 32)));
    }
    code.return(result);
  });
}

/** A constant vector of one bit pattern. */
function splatBits(code: Code, real: Real, bits: bigint): V {
  const size = real === 'f64' ? 8 : 4;
  return code.constant128(Uint8Array.from({ length: 16 }, (_, i) => Number((bits >> BigInt(8 * (i % size))) & 0xffn)));
}

/** Least normal number and infinity. */
const LEAST = { f32: 0x00800000n, f64: 0x0010000000000000n } as const;
const INFINITE = { f32: 0x7f800000n, f64: 0x7ff0000000000000n } as const;

/** What the lowest element of a vector comes from: another vector, or a value that was put there. */
function lowSource(real: Real, node: Node): Node {
  if (node.kind === Kind.SHUFFLE) {
    const [first] = node.value as Uint8Array;
    return first === 0 || first === 16 ? lowSource(real, node.args[first >> 4] as Node) : node;
  }
  const isPut = node.kind === Kind.OP && node.index === 0 && node.instruction?.name === `${BITS[real]}.replace_lane`;
  return isPut ? (node.args[1] as Node) : node;
}

/** The lowest element's bits but for its sign, doubled. */
function doubled(code: Code, real: Real, value: V): Val<32> | Val<64> {
  const source = lowSource(real, value.node);
  const width = real === 'f64' ? 64 : 32;
  const bits = source.type === 'v128' ? code.lane(`${BITS[real]}.extract_lane`, width, 0, new Val(code, source, 128)) : new Val(code, source, width);
  return bits.shl(1) as Val<32> | Val<64>;
}

/** Vectors whose lowest element is a number, and no denormal one. */
const numbers = { f32: new WeakSet<Node>(), f64: new WeakSet<Node>() };

/** Says that the lowest element of a vector is a number, and no denormal one. */
export const markNumber = (real: Real, value: V): void => void numbers[real].add(value.node);

/** Whether that was said of a vector, or of what its lowest element comes from. */
export const isKnownNumber = (real: Real, value: V): boolean => numbers[real].has(lowSource(real, value.node));

/** Whether the lowest element is no denormal number. */
export function isNotDenormal(code: Code, real: Real, value: V): Val<32> {
  const least = LEAST[real] << 1n;
  const bits = doubled(code, real, value);
  // Zero becomes the greatest number.
  return bits.width === 64 ? (bits as Val<64>).sub(1).geU(least - 1n) : (bits as Val<32>).sub(1).geU(Number(least - 1n));
}

/** Whether the lowest element is a finite number above the least normal one: as `Lanes.isSafe`. */
export function isNormal(code: Code, real: Real, value: V): Val<32> {
  const first = (LEAST[real] << 1n) + 1n;
  const span = (INFINITE[real] << 1n) - first;
  const bits = doubled(code, real, value);
  return bits.width === 64 ? (bits as Val<64>).sub(first).ltU(span) : (bits as Val<32>).sub(Number(first)).ltU(Number(span) | 0);
}

/** Questions about all elements at once: masks, for the fast paths. */
export class Lanes {
  constructor(
    private readonly code: Code,
    readonly real: Real,
  ) {}
  op(name: string, ...values: V[]): V {
    return this.code.op(`${SHAPE[this.real]}.${name}`, 128, ...values);
  }
  and(a: V, b: V): V {
    return this.code.op('v128.and', 128, a, b);
  }
  or(a: V, b: V): V {
    return this.code.op('v128.or', 128, a, b);
  }
  constant(bits: bigint): V {
    return splatBits(this.code, this.real, bits);
  }
  isZero(value: V): V {
    return this.op('eq', value, this.constant(0n));
  }
  /** Neither NaN nor denormal. */
  isPlain(value: V): V {
    return this.or(this.op('ge', this.op('abs', value), this.constant(LEAST[this.real])), this.isZero(value));
  }
  /** Normal and above the least normal number: nothing but rounding can have happened. */
  isSafe(value: V): V {
    const magnitude = this.op('abs', value);
    return this.and(this.op('gt', magnitude, this.constant(LEAST[this.real])), this.op('lt', magnitude, this.constant(INFINITE[this.real])));
  }
  /** 1 when the mask is set in all elements, or in the lowest. */
  holds(mask: V, scalar: boolean): Val<32> {
    if (!scalar) return this.code.op(`${BITS[this.real]}.all_true`, 32, mask);
    return this.code.lane('i32x4.extract_lane', 32, 0, mask);
  }
}
