import { defineFunction, type FunctionDefinition, type Val } from '@nestvm/emit';

/**
 * How compiled code keeps flags that nobody has asked for: the result, and what `flagAux` (see the architecture's "Arithmetic flags are lazy") is made from. Sums and differences keep
 * their operands, by width; the values are those of `kind`.
 */
export const FlagKind = {
  /** `a` is `flagAux`. */
  AUX: 0,
  /** `a` has CF, OF and AF in bits 0, 1 and 2. */
  BITS: 1,
  /** The sum, or difference, of `a` and `b`, zero-extended, at 8 bits; the next three are those at 16, 32 and 64. */
  ADD: 2,
  SUB: 6,
} as const;

/** The kind of an addition or a subtraction at a width. */
export const kindAt = (kind: number, width: number): number => kind + (31 - Math.clz32(width)) - 3;

const CARRY_BITS = 0xc0000000 | 0;

/** `flagAux` from what is kept: (kind, result, a, b). */
export const flagAux: FunctionDefinition = {
  ...defineFunction('flagAux', { params: ['i32', 'i64', 'i64', 'i64'], results: ['i32'] }, (c) => {
    const [kind, r, a, b] = [c.param(0, 32), c.param(1, 64), c.param(2, 64), c.param(3, 64)];
    c.if(kind.leU(FlagKind.BITS), () => {
      const bits = a.trunc(32);
      c.if(kind.isZero(), () => c.return(bits));
      c.return(
        bits
          .shl(31)
          .or(bits.xor(bits.shrU(1)).and(1).shl(30))
          .or(bits.and(4).shl(1)),
      );
    });
    const carries = c.choose(
      kind.geU(FlagKind.SUB),
      64,
      () => a.not().and(b).or(a.not().or(b).and(r)),
      () => a.and(b).or(a.or(b).and(r.not())),
    );
    const top = carries.shl(c.constant(32, 64).sub(c.constant(32, 8).shl(kind.sub(FlagKind.ADD).and(3))));
    c.return(top.shrU(32).trunc(32).and(CARRY_BITS).or(carries.trunc(32).and(8)));
  }),
  pure: true,
};

/** What a producer of flags leaves to be kept. */
export interface Kept {
  readonly kind: number;
  readonly a: () => Val<64>;
  readonly b?: () => Val<64>;
}
