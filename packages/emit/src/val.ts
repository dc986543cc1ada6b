import type { Node } from './node.js';

/** Width of a run-time value: bits of an integer or vector, or a floating-point format. */
export type Width = 8 | 16 | 32 | 64 | 128 | 'f32' | 'f64';
/** Widths of integers. */
export type IntWidth = 8 | 16 | 32 | 64;

type Amount = Val<32> | number;
/** The other operand of a binary operation: a value of the same width, or a constant. */
export type Same<W extends Width> = Val<W> | number | bigint;

/** What can be done with the function being written from a value of it alone: `Code` is one. */
export interface ValueWriter {
  /** A constant. */
  constant<W extends Width>(width: W, value: number | bigint): Val<W>;
  /** A numeric WebAssembly instruction by its name. */
  numeric(name: string, args: readonly Node[], lane?: number): Node;
  /** `condition` not zero ? a : b; both are evaluated. */
  select<W extends Width>(condition: Val<32>, a: Val<W>, b: Val<W>): Val<W>;
  /** A vector instruction with a lane number. */
  lane<W extends Width>(name: string, width: W, lane: number, ...args: Val[]): Val<W>;
}

const MASK: Record<number, number> = { 8: 0xff, 16: 0xffff };

const NAMES = {
  i32: new Map<string, string>(),
  i64: new Map<string, string>(),
  f32: new Map<string, string>(),
  f64: new Map<string, string>(),
} as const;

/** Name of a type's instruction. Names are looked up often: they are put together once. */
function nameOf(type: keyof typeof NAMES, operation: string): string {
  const known = NAMES[type].get(operation);
  if (known !== undefined) return known;
  const name = `${type}.${operation}`;
  NAMES[type].set(operation, name);
  return name;
}

/**
 * A run-time value of W bits, evaluated once, in source order. 8- and 16-bit integers are kept zero-extended in 32.
 * Comparisons give a `Val<32>` that is 0 or 1.
 */
export class Val<W extends Width = Width> {
  constructor(
    /** The function being written. */
    readonly code: ValueWriter,
    /** The node of the program. */
    readonly node: Node,
    readonly width: W,
  ) {}

  private get prefix(): 'i32' | 'i64' {
    return this.width === 64 ? 'i64' : 'i32';
  }

  private lift(other: Same<W>): Node {
    return other instanceof Val ? other.node : this.code.constant(this.width, other).node;
  }

  /** The same node, read as another width; the caller vouches for the upper bits. */
  as<X extends Width>(width: X): Val<X> {
    return new Val(this.code, this.node, width);
  }

  private binary(name: string, other: Same<W>, wraps: boolean): Val<W> {
    const result = this.code.numeric(nameOf(this.prefix, name), [this.node, this.lift(other)]);
    const mask = wraps ? MASK[this.width as number] : undefined;
    return new Val(this.code, mask === undefined ? result : this.code.numeric('i32.and', [result, this.code.constant(32, mask).node]), this.width);
  }

  private compare(name: string, other: Same<W>): Val<32> {
    if (this.width === 'f32' || this.width === 'f64')
      return new Val(this.code, this.code.numeric(nameOf(this.width, name), [this.node, this.lift(other)]), 32);
    return new Val(this.code, this.code.numeric(nameOf(this.prefix, name), [this.node, this.lift(other)]), 32);
  }

  private compareSigned(name: string, other: Same<W>): Val<32> {
    if (this.width === 8 || this.width === 16) {
      const right = other instanceof Val ? other : this.code.constant(this.width as 8 | 16, other);
      return (this as unknown as Val<8>).sext(32).compare(name, (right as Val<8>).sext(32));
    }
    return this.compare(name, other);
  }

  add(other: Same<W>): Val<W> {
    return this.binary('add', other, true);
  }
  sub(other: Same<W>): Val<W> {
    return this.binary('sub', other, true);
  }
  mul(other: Same<W>): Val<W> {
    return this.binary('mul', other, true);
  }
  and(other: Same<W>): Val<W> {
    return this.binary('and', other, false);
  }
  or(other: Same<W>): Val<W> {
    return this.binary('or', other, false);
  }
  xor(other: Same<W>): Val<W> {
    return this.binary('xor', other, false);
  }
  divU(other: Same<W>): Val<W> {
    return this.binary('div_u', other, false);
  }
  remU(other: Same<W>): Val<W> {
    return this.binary('rem_u', other, false);
  }
  /** Signed division; 32 and 64 bits only. Traps like WebAssembly's: guard it. */
  divS(other: Same<W>): Val<W> {
    return this.binary('div_s', other, false);
  }
  /** Signed remainder; 32 and 64 bits only. */
  remS(other: Same<W>): Val<W> {
    return this.binary('rem_s', other, false);
  }

  private shift(name: string, amount: Amount): Node {
    const { code } = this;
    const count =
      typeof amount === 'number'
        ? code.constant(this.width === 64 ? 64 : 32, amount).node
        : this.width === 64
          ? code.numeric('i64.extend_i32_u', [amount.node])
          : amount.node;
    return code.numeric(nameOf(this.prefix, name), [this.node, count]);
  }

  /** Left shift; the amount is taken modulo 32 (64 for 64 bits), as in WebAssembly. */
  shl(amount: Amount): Val<W> {
    const result = this.shift('shl', amount);
    const mask = MASK[this.width as number];
    return new Val(this.code, mask === undefined ? result : this.code.numeric('i32.and', [result, this.code.constant(32, mask).node]), this.width);
  }
  /** Logical right shift. */
  shrU(amount: Amount): Val<W> {
    return new Val(this.code, this.shift('shr_u', amount), this.width);
  }
  /** Arithmetic right shift, at the value's own width. */
  shrS(amount: Amount): Val<W> {
    if (this.width === 8 || this.width === 16)
      return (this as unknown as Val<8>)
        .sext(32)
        .shrS(amount)
        .trunc(this.width as 8) as unknown as Val<W>;
    return new Val(this.code, this.shift('shr_s', amount), this.width);
  }
  /** Rotate left; 32 and 64 bits only. */
  rotl(amount: Amount): Val<W> {
    return new Val(this.code, this.shift('rotl', amount), this.width);
  }
  /** Rotate right; 32 and 64 bits only. */
  rotr(amount: Amount): Val<W> {
    return new Val(this.code, this.shift('rotr', amount), this.width);
  }

  not(): Val<W> {
    return this.xor(MASK[this.width as number] ?? -1);
  }
  neg(): Val<W> {
    return this.code.constant(this.width as IntWidth, 0).sub(this as unknown as Val<IntWidth>) as unknown as Val<W>;
  }

  eq(other: Same<W>): Val<32> {
    return this.compare('eq', other);
  }
  ne(other: Same<W>): Val<32> {
    return this.compare('ne', other);
  }
  ltU(other: Same<W>): Val<32> {
    return this.compare('lt_u', other);
  }
  gtU(other: Same<W>): Val<32> {
    return this.compare('gt_u', other);
  }
  leU(other: Same<W>): Val<32> {
    return this.compare('le_u', other);
  }
  geU(other: Same<W>): Val<32> {
    return this.compare('ge_u', other);
  }
  ltS(other: Same<W>): Val<32> {
    return this.compareSigned('lt_s', other);
  }
  gtS(other: Same<W>): Val<32> {
    return this.compareSigned('gt_s', other);
  }
  leS(other: Same<W>): Val<32> {
    return this.compareSigned('le_s', other);
  }
  geS(other: Same<W>): Val<32> {
    return this.compareSigned('ge_s', other);
  }
  /** 1 when zero. */
  isZero(): Val<32> {
    return new Val(this.code, this.code.numeric(nameOf(this.prefix, 'eqz'), [this.node]), 32);
  }
  /** 1 when not zero. */
  isNonzero(): Val<32> {
    return this.compare('ne', 0);
  }

  /** Leading zeros at 32 or 64 bits; the operand width when zero. */
  clz(): Val<W> {
    return new Val(this.code, this.code.numeric(nameOf(this.prefix, 'clz'), [this.node]), this.width);
  }
  ctz(): Val<W> {
    return new Val(this.code, this.code.numeric(nameOf(this.prefix, 'ctz'), [this.node]), this.width);
  }
  popcnt(): Val<W> {
    return new Val(this.code, this.code.numeric(nameOf(this.prefix, 'popcnt'), [this.node]), this.width);
  }

  /** Zero-extends to a wider integer (or the same). */
  zext<X extends IntWidth>(width: X): Val<X> {
    if (width === 64 && this.width !== 64) return new Val(this.code, this.code.numeric('i64.extend_i32_u', [this.node]), width);
    return this.as(width);
  }

  /** Sign-extends to a wider integer (or the same). */
  sext<X extends IntWidth>(width: X): Val<X> {
    const { code } = this;
    let node = this.node;
    if (this.width === 8 && width !== 8) node = code.numeric('i32.extend8_s', [node]);
    else if (this.width === 16 && width !== 16) node = code.numeric('i32.extend16_s', [node]);
    if (width === 64 && this.width !== 64) node = code.numeric('i64.extend_i32_s', [node]);
    const mask = this.width === 8 && width === 16 ? MASK[16] : undefined;
    return new Val(code, mask === undefined ? node : code.numeric('i32.and', [node, code.constant(32, mask).node]), width);
  }

  /** The low bits. */
  trunc<X extends IntWidth>(width: X): Val<X> {
    const { code } = this;
    let node = this.node;
    if (this.width === 64 && width !== 64) node = code.numeric('i32.wrap_i64', [node]);
    const mask = (width as number) !== (this.width as number) ? MASK[width] : undefined;
    return new Val(code, mask === undefined ? node : code.numeric('i32.and', [node, code.constant(32, mask).node]), width);
  }
}
