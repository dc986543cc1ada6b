import { type Code, defineFunction, type FunctionDefinition, type Val } from '@nestvm/emit';
import { vcpuState } from '@nestvm/isa';

export type Q = Val<64>;
export type I = Val<32>;

const { offset } = vcpuState;

/** State offsets of what x87 helper functions hand to each other; the first 16 bytes of the scratch belong to memory accesses. */
export const At = {
  /** Result: significand, then sign and exponent. */
  RESULT: offset.scratch + 16,
  RESULT_SE: offset.scratch + 24,
  /** Source operand: significand, sign and exponent, kind. */
  SOURCE: offset.scratch + 32,
  SOURCE_SE: offset.scratch + 40,
  SOURCE_KIND: offset.scratch + 44,
  /** Exceptions collected by the instruction at hand, SF and C1 too, as they stand in the status word. */
  RAISED: offset.scratch + 28,
  /** Low half of a 128-bit result. */
  LOW: offset.scratch + 48,
  /** Second result of FSINCOS and FXTRACT. */
  SECOND: offset.scratch + 56,
} as const;

/** Bits of the status word (SDM Vol. 1, "x87 FPU Status Register"). */
export const Status = {
  INVALID: 1,
  DENORMAL: 2,
  ZERO: 4,
  OVERFLOW: 8,
  UNDERFLOW: 16,
  PRECISION: 32,
  STACK: 0x40,
  ES: 0x80,
  C0: 0x100,
  C1: 0x200,
  C2: 0x400,
  C3: 0x4000,
  BUSY: 0x8000,
  CONDITIONS: 0x4700,
  UNDERFLOW_OF_STACK: 0x41,
  OVERFLOW_OF_STACK: 0x241,
} as const;

/** What a register or operand holds; from QUIET on, arithmetic needs no look at the number. */
export const KindOf = { ZERO: 0, FINITE: 1, DENORMAL: 2, INFINITE: 3, QUIET: 4, SIGNALING: 5, UNSUPPORTED: 6, EMPTY: 7 } as const;

export const BIAS = 16383;
export const TOP = 0x7fff;
export const J = 1n << 63n;
const QUIET_BIT = 1n << 62n;

/** Sign and exponent, significand of "real indefinite". */
export const INDEFINITE = { se: 0xffff, significand: J | QUIET_BIT } as const;

/** Kind of a number in the double extended format: (significand, sign and exponent) → KindOf, never EMPTY. */
const KIND = defineFunction('x87.kind', { params: ['i64', 'i32'], results: ['i32'] }, (code) => {
  const [significand, exponent] = [code.param(0, 64), code.param(1, 32).and(TOP)];
  const kind = (k: number): I => code.constant(32, k);
  code.if(exponent.isZero(), () => code.return(significand.isNonzero().shl(1)));
  code.if(significand.geS(0), () => code.return(kind(KindOf.UNSUPPORTED)));
  code.if(exponent.eq(TOP), () => {
    const isQuiet = significand.and(QUIET_BIT).isNonzero();
    code.return(code.select(significand.shl(1).isZero(), kind(KindOf.INFINITE), kind(KindOf.SIGNALING).sub(isQuiet)));
  });
  code.return(kind(KindOf.FINITE));
});

/** A number in extended format with what it is. */
export interface Extended {
  readonly significand: Q;
  readonly se: I;
  readonly kind: I;
}

/** A finite nonzero number taken apart: value = (-1)^sign × significand / 2^63 × 2^(exponent - 16383), bit 63 set. */
export interface Unpacked {
  readonly sign: I;
  readonly exponent: I;
  readonly significand: Q;
}

/** The x87 state while one helper function is written. */
export class Fpu {
  constructor(
    readonly code: Code,
    readonly cpu: I,
  ) {}

  q(value: bigint | number): Q {
    return this.code.constant(64, value);
  }
  i(value: number): I {
    return this.code.constant(32, value);
  }
  get(at: number): I {
    return this.code.load('i32.load', 32, this.cpu, at);
  }
  get64(at: number): Q {
    return this.code.load('i64.load', 64, this.cpu, at);
  }
  set(at: number, value: I): void {
    this.code.store('i32.store', this.cpu, value, at);
  }
  set64(at: number, value: Q): void {
    this.code.store('i64.store', this.cpu, value, at);
  }
  get control(): I {
    return this.get(offset.fcw);
  }
  get status(): I {
    return this.get(offset.fsw);
  }
  /** Rounding control: 0 nearest, 1 down, 2 up, 3 towards zero. */
  get rounding(): I {
    return this.control.shrU(10).and(3);
  }

  /** Collects exceptions. */
  raise(flags: number | I): void {
    this.set(At.RAISED, this.get(At.RAISED).or(flags));
  }
  clearRaised(): void {
    this.set(At.RAISED, this.i(0));
  }
  /** Unmasked exceptions among those collected. */
  unmasked(): I {
    return this.get(At.RAISED).and(this.control.not()).and(0x3f);
  }

  /** Number of the physical register that ST(i) is. */
  physical(i: I | number): I {
    return this.get(offset.ftop).add(i).and(7);
  }
  /** Address of a physical register, to be used with the static offset of `fpr`. */
  private address(physical: I): I {
    return this.cpu.add(physical.shl(4));
  }
  isEmpty(physical: I): I {
    return this.get(offset.ftag).shrU(physical).and(1).xor(1);
  }
  readRegister(physical: I): { significand: Q; se: I } {
    const address = this.address(physical);
    return { significand: this.code.load('i64.load', 64, address, offset.fpr), se: this.code.load('i32.load16_u', 32, address, offset.fpr + 8) };
  }
  /** Writes a register and makes it valid. */
  writeRegister(physical: I, significand: Q, se: I): void {
    const address = this.address(physical);
    this.code.store('i64.store', address, significand, offset.fpr);
    this.code.store('i32.store16', address, se, offset.fpr + 8);
    this.set(offset.ftag, this.get(offset.ftag).or(this.i(1).shl(physical)));
  }
  free(physical: I): void {
    this.set(offset.ftag, this.get(offset.ftag).and(this.i(1).shl(physical).not()));
  }
  /** Pops `count` (0, 1 or 2) registers. */
  pop(count: I): void {
    const { code } = this;
    code.if(count.isNonzero(), () => {
      const top = this.get(offset.ftop);
      this.free(top);
      code.if(count.gtU(1), () => this.free(top.add(1).and(7)));
      this.set(offset.ftop, top.add(count).and(7));
    });
  }

  kindOf(significand: Q, se: I): I {
    return this.code.call(KIND, 32, significand, se);
  }
  /** ST(i). */
  st(i: I | number): Extended {
    const physical = this.physical(i);
    const { significand, se } = this.readRegister(physical);
    return { significand, se, kind: this.code.select(this.isEmpty(physical), this.i(KindOf.EMPTY), this.kindOf(significand, se)) };
  }
  source(): Extended {
    return { significand: this.get64(At.SOURCE), se: this.get(At.SOURCE_SE), kind: this.get(At.SOURCE_KIND) };
  }
  setSource({ significand, se, kind }: Extended): void {
    this.set64(At.SOURCE, significand);
    this.set(At.SOURCE_SE, se);
    this.set(At.SOURCE_KIND, kind);
  }
  result(significand: Q | bigint, se: I | number): void {
    this.set64(At.RESULT, typeof significand === 'bigint' ? this.q(significand) : significand);
    this.set(At.RESULT_SE, typeof se === 'number' ? this.i(se) : se);
  }
  indefinite(): void {
    this.result(INDEFINITE.significand, INDEFINITE.se);
  }
  infinity(sign: I): void {
    this.result(J, sign.shl(15).or(TOP));
  }
  zero(sign: I): void {
    this.result(0n, sign.shl(15));
  }

  sign(se: I): I {
    return se.shrU(15).and(1);
  }
  unpack({ significand, se }: { significand: Q; se: I }): Unpacked {
    const field = se.and(TOP);
    const zeros = significand.clz().trunc(32);
    const exponent = this.code.select(field.isZero(), this.i(1), field).sub(zeros);
    return { sign: this.sign(se), exponent, significand: significand.shl(zeros) };
  }

  /** Leaves the function with an invalid operation if the condition holds. */
  invalidIf(condition: I, flags: number = Status.INVALID): void {
    this.code.if(condition, () => {
      this.raise(flags);
      this.indefinite();
      this.code.return();
    });
  }
  isKind(value: Extended, kind: number): I {
    return value.kind.eq(kind);
  }
  noteDenormal(...values: Extended[]): void {
    this.raise(
      values
        .map((v) => this.isKind(v, KindOf.DENORMAL))
        .reduce((a, b) => a.or(b))
        .shl(1),
    );
  }
}

/** A helper over the x87 state: (cpu, i32 arguments…) → nothing. */
export const helper = (name: string, args: number, write: (f: Fpu, ...args: I[]) => void): FunctionDefinition =>
  defineFunction(`x87.${name}`, { params: ['i32', ...Array.from({ length: args }, () => 'i32' as const)], results: [] }, (code) => {
    write(new Fpu(code, code.param(0, 32)), ...Array.from({ length: args }, (_, i) => code.param(i + 1, 32)));
  });

const PROPAGATE = defineFunction('x87.nan', { params: ['i32', 'i64', 'i32', 'i32', 'i64', 'i32', 'i32'], results: [] }, (code) => {
  const f = new Fpu(code, code.param(0, 32));
  const [as, ae, ak, bs, be, bk] = [code.param(1, 64), code.param(2, 32), code.param(3, 32), code.param(4, 64), code.param(5, 32), code.param(6, 32)];
  f.invalidIf(ak.eq(KindOf.EMPTY).or(bk.eq(KindOf.EMPTY)), Status.UNDERFLOW_OF_STACK);
  f.invalidIf(ak.eq(KindOf.UNSUPPORTED).or(bk.eq(KindOf.UNSUPPORTED)));
  f.raise(ak.eq(KindOf.SIGNALING).or(bk.eq(KindOf.SIGNALING)));
  const isNaN = (k: I): I => k.geU(KindOf.QUIET);
  // The larger significand wins among NaNs of one kind, and a quiet one against a signaling one; between equals the positive.
  const larger = as.gtU(bs).or(as.eq(bs).and(ae.leU(be)));
  const both = code.select(ak.eq(bk), larger, ak.ltU(bk));
  const first = isNaN(ak).and(isNaN(bk).isZero().or(both));
  f.result(code.select(first, as, bs).or(QUIET_BIT), code.select(first, ae, be));
});

/** Leaves the function when an operand is a NaN, unsupported or an empty register: with the NaN, or as an invalid operation. */
export function propagate(f: Fpu, a: Extended, b: Extended = a): void {
  const { code } = f;
  code.if(a.kind.geU(KindOf.QUIET).or(b.kind.geU(KindOf.QUIET)), () => {
    code.run(PROPAGATE, f.cpu, a.significand, a.se, a.kind, b.significand, b.se, b.kind);
    code.return();
  });
}
