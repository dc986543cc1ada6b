import type { Code, Val } from '@nestvm/emit';
import { vcpuState } from '@nestvm/isa';

/** A binary interchange format of IEEE 754. Values are handled as bit patterns in the low bits of an i64. */
export interface Format {
  readonly name: string;
  /** Bits of the whole. */
  readonly width: number;
  /** Bits of the fraction. */
  readonly fraction: number;
  /** Exponent of infinities and NaNs. */
  readonly top: number;
  readonly bias: number;
}

export const HALF: Format = { name: 'f16', width: 16, fraction: 10, top: 0x1f, bias: 15 };
export const SINGLE: Format = { name: 'f32', width: 32, fraction: 23, top: 0xff, bias: 127 };
export const DOUBLE: Format = { name: 'f64', width: 64, fraction: 52, top: 0x7ff, bias: 1023 };

/** Exception flags in MXCSR; their masks are seven bits higher. */
export const Flag = { INVALID: 1, DENORMAL: 2, ZERO: 4, OVERFLOW: 8, UNDERFLOW: 16, PRECISION: 32 } as const;
/** Control bits of MXCSR. */
export const Control = { DAZ: 0x40, UNDERFLOW_MASK: 0x800, OVERFLOW_MASK: 0x400, FTZ: 0x8000 } as const;
/** Rounding control. */
export const Round = { NEAREST: 0, DOWN: 1, UP: 2, ZERO: 3 } as const;

/** State offset of the word that collects the exceptions of one instruction; slow-path accesses are over when it is in use. */
export const FLAGS_OFFSET = vcpuState.offset.scratch + 56;

/** A number taken apart: value = (-1)^sign × significand / 2^62 × 2^(exponent - bias), the significand's leading bit at 62, or 0. */
export interface Parts {
  readonly sign: Val<32>;
  readonly exponent: Val<32>;
  readonly significand: Val<64>;
}

/** Values of one format while one function is written; exceptions go to the vCPU's collecting word. */
export class Soft {
  readonly infinity: bigint;
  readonly signBit: bigint;
  readonly quietBit: bigint;
  constructor(
    readonly code: Code,
    readonly format: Format,
    /** MXCSR; its rounding control is used. */
    readonly control: Val<32>,
    readonly cpu: Val<32>,
  ) {
    this.infinity = BigInt(format.top) << BigInt(format.fraction);
    this.signBit = 1n << BigInt(format.width - 1);
    this.quietBit = 1n << BigInt(format.fraction - 1);
  }

  const64(value: bigint | number): Val<64> {
    return this.code.constant(64, value);
  }
  const32(value: number): Val<32> {
    return this.code.constant(32, value);
  }

  /** Reports exceptions. */
  raise(flags: number | Val<32>): void {
    const word = this.code.load('i32.load', 32, this.cpu, FLAGS_OFFSET);
    this.code.store('i32.store', this.cpu, word.or(flags), FLAGS_OFFSET);
  }

  /** Without the sign. */
  magnitude(value: Val<64>): Val<64> {
    return value.and(this.signBit - 1n);
  }
  sign(value: Val<64>): Val<32> {
    return value
      .shrU(this.format.width - 1)
      .trunc(32)
      .and(1);
  }
  isNaN(value: Val<64>): Val<32> {
    return this.magnitude(value).gtU(this.infinity);
  }
  isInfinite(value: Val<64>): Val<32> {
    return this.magnitude(value).eq(this.infinity);
  }
  isZero(value: Val<64>): Val<32> {
    return this.magnitude(value).isZero();
  }
  isSignaling(value: Val<64>): Val<32> {
    return this.isNaN(value).and(value.and(this.quietBit).isZero());
  }
  isDenormal(value: Val<64>): Val<32> {
    return this.magnitude(value)
      .sub(1)
      .ltU((1n << BigInt(this.format.fraction)) - 1n);
  }
  quiet(value: Val<64>): Val<64> {
    return value.or(this.quietBit);
  }
  /** The NaN of invalid operations. */
  indefinite(): Val<64> {
    return this.const64(this.signBit | this.infinity | this.quietBit);
  }
  zero(sign: Val<32>): Val<64> {
    return sign.zext(64).shl(this.format.width - 1);
  }

  /** The operand as DAZ has it. */
  operand(value: Val<64>): Val<64> {
    const flushed = this.isDenormal(value).and(this.control.and(Control.DAZ).isNonzero());
    return this.code.select(flushed, value.and(this.signBit), value);
  }

  /** Takes a finite number apart; zero gets significand 0 and an exponent below all others. */
  unpack(value: Val<64>): Parts {
    const { code, format } = this;
    const field = this.magnitude(value).shrU(format.fraction).trunc(32);
    const fraction = value.and((1n << BigInt(format.fraction)) - 1n);
    const whole = fraction.or(field.isNonzero().zext(64).shl(format.fraction));
    const zeros = whole.clz().trunc(32);
    const exponent = code
      .select(field.isZero(), this.const32(1), field)
      .sub(zeros)
      .add(63 - format.fraction);
    return {
      sign: this.sign(value),
      significand: whole.shl(zeros.sub(1)),
      exponent: code.select(whole.isZero(), this.const32(-100000), exponent),
    };
  }

  /** Leaves the function with an invalid operation if the condition holds. */
  invalidIf(condition: Val<32>): void {
    this.code.if(condition, () => {
      this.raise(Flag.INVALID);
      this.code.return(this.indefinite());
    });
  }

  /** Leaves the function with the first NaN of the operands, quieted, when there is one. */
  propagate(...values: Val<64>[]): void {
    const any = values.map((v) => this.isNaN(v)).reduce((a, b) => a.or(b));
    this.code.if(any, () => {
      this.raise(values.map((v) => this.isSignaling(v)).reduce((a, b) => a.or(b)));
      let result = values[values.length - 1]!;
      for (const v of values.slice(0, -1).reverse()) result = this.code.select(this.isNaN(v), v, result);
      this.code.return(this.quiet(result));
    });
  }

  /** Reports denormal operands. */
  noteDenormals(...values: Val<64>[]): void {
    this.raise(
      values
        .map((v) => this.isDenormal(v))
        .reduce((a, b) => a.or(b))
        .shl(1),
    );
  }

  /** Sign of an exact zero sum of numbers with different signs. */
  zeroSumSign(): Val<32> {
    return this.control.shrU(13).and(3).eq(Round.DOWN);
  }
}
