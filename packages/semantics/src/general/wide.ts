import { type Code, defineFunction, type Val } from '@nestvm/emit';

const I64 = 'i64' as const;

/** High half of the unsigned 128-bit product. */
export const MULTIPLY_HIGH = defineFunction('multiplyHigh', { params: [I64, I64], results: [I64] }, (c) => {
  const [a, b] = [c.param(0, 64), c.param(1, 64)];
  const [al, ah, bl, bh] = [a.and(0xffffffffn), a.shrU(32), b.and(0xffffffffn), b.shrU(32)];
  const middle = ah.mul(bl).add(al.mul(bl).shrU(32));
  const cross = al.mul(bh).add(middle.and(0xffffffffn));
  c.return(ah.mul(bh).add(middle.shrU(32)).add(cross.shrU(32)));
});

/**
 * Quotient of the unsigned 128-bit number (high, low) by a divisor greater than high, so that it fits 64 bits: one bit a turn.
 * The remainder follows from it.
 */
export const DIVIDE_WIDE = defineFunction('divideWide', { params: [I64, I64, I64], results: [I64] }, (c) => {
  const divisor = c.param(2, 64);
  const rest = c.variable(c.param(0, 64));
  const low = c.variable(c.param(1, 64));
  const turns = c.variable(c.constant(32, 64));
  c.loop((again) => {
    const before = rest.get();
    const shifted = before.shl(1).or(low.get().shrU(63));
    // The bit that leaves the top counts as 2^64, which is more than any divisor.
    const fits = before.shrU(63).trunc(32).or(shifted.geU(divisor));
    low.set(low.get().shl(1).or(fits.zext(64)));
    rest.set(c.select(fits, shifted.sub(divisor), shifted));
    turns.set(turns.get().sub(1));
    again(turns.get());
  });
  c.return(low.get());
});

/** High half of the signed product. */
export function multiplyHighSigned(c: Code, a: Val<64>, b: Val<64>): Val<64> {
  return c.call(MULTIPLY_HIGH, 64, a, b).sub(a.shrS(63).and(b)).sub(b.shrS(63).and(a));
}
