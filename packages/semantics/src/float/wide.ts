import type { Val } from '@nestvm/emit';

type Q = Val<64>;

/** A 128-bit integer at run time, as two halves. */
export interface Wide {
  readonly high: Q;
  readonly low: Q;
}

const LOW = 0xffffffffn;

/** The 128-bit product of two unsigned 64-bit values. */
export function multiplyWide(a: Q, b: Q): Wide {
  const [a0, a1, b0, b1] = [a.and(LOW), a.shrU(32), b.and(LOW), b.shrU(32)];
  const low = a0.mul(b0);
  const middle = a1.mul(b0).add(low.shrU(32));
  const other = a0.mul(b1).add(middle.and(LOW));
  return { high: a1.mul(b1).add(middle.shrU(32)).add(other.shrU(32)), low: a.mul(b) };
}

/** a + b; the carry out of bit 127 is dropped. */
export function addWide(a: Wide, b: Wide): Wide {
  const low = a.low.add(b.low);
  return { high: a.high.add(b.high).add(low.ltU(a.low).zext(64)), low };
}

/** a - b; the borrow out of bit 127 is dropped. */
export const subtractWide = (a: Wide, b: Wide): Wide => ({ high: a.high.sub(b.high).sub(a.low.ltU(b.low).zext(64)), low: a.low.sub(b.low) });

/** 1 when a < b, unsigned. */
export const lessWide = (a: Wide, b: Wide): Val<32> => a.high.ltU(b.high).or(a.high.eq(b.high).and(a.low.ltU(b.low)));

/** Either of two. */
export const selectWide = (condition: Val<32>, a: Wide, b: Wide): Wide => ({
  high: a.high.code.select(condition, a.high, b.high),
  low: a.high.code.select(condition, a.low, b.low),
});

/** Leading zeros, 128 for zero. */
export const leadingZerosWide = (a: Wide): Q => a.high.code.select(a.high.isZero(), a.low.clz().add(64), a.high.clz());

/** a << amount, amount 0 to 127. */
export function shiftLeftWide(a: Wide, amount: Val<32>): Wide {
  const { code } = amount;
  const zero = code.constant(64, 0);
  const carried = code.select(amount.and(63).isZero(), zero, a.low.shrU(code.constant(32, 64).sub(amount)));
  const small: Wide = { high: a.high.shl(amount).or(carried), low: a.low.shl(amount) };
  return selectWide(amount.geU(64), { high: a.low.shl(amount), low: zero }, small);
}

/** a >> amount for any amount, with all that falls out ORed into bit 0 ("jamming"). */
export function shiftRightJam(a: Q, amount: Val<32>): Q {
  const { code } = amount;
  const lost = a.shl(code.constant(32, 64).sub(amount));
  const some = a.shrU(amount).or(lost.isNonzero().zext(64));
  return code.select(amount.isZero(), a, code.select(amount.gtU(63), a.isNonzero().zext(64), some));
}

/** The same for 128 bits. */
export function shiftRightJamWide(a: Wide, amount: Val<32>): Wide {
  const { code } = amount;
  const back = code.constant(32, 64).sub(amount);
  const zero = code.constant(64, 0);
  const small: Wide = { high: a.high.shrU(amount), low: a.low.shrU(amount).or(a.high.shl(back)).or(a.low.shl(back).isNonzero().zext(64)) };
  // From 64 up, the low half is only sticky.
  const large: Wide = { high: zero, low: shiftRightJam(a.high, amount.sub(64)).or(a.low.isNonzero().zext(64)) };
  return selectWide(amount.isZero(), a, selectWide(amount.geU(64), large, small));
}
