/** How numbers are told apart: the number times a factor, shifted to the right, of which some bits count. */
export interface Spread {
  readonly factor: number;
  readonly shift: number;
  readonly bits: number;
}

/** The slot of a number. */
export const slotOf = (value: number, { factor, shift, bits }: Spread): number => (Math.imul(value, factor) >>> shift) & ((1 << bits) - 1);

/** Multipliers that are tried: odd, with bits all over. */
const FACTORS = [1, 0x9e3779b1, 0x85ebca6b, 0xc2b2ae35, 0x27d4eb2f].map((factor) => factor | 0);
const MOST_BITS = 12;

const isInjective = (values: readonly number[], form: Spread): boolean => new Set(values.map((value) => slotOf(value, form))).size === values.length;

/** A spread that gives each of some different numbers below 4096 a slot of its own, with few slots. */
export function spread(values: readonly number[]): Spread {
  for (let bits = Math.ceil(Math.log2(Math.max(values.length, 2))); bits < MOST_BITS; bits++) {
    for (const factor of FACTORS) {
      const last = factor === 1 ? MOST_BITS - bits : 32 - bits;
      for (let shift = 0; shift <= last; shift++) if (isInjective(values, { factor, shift, bits })) return { factor, shift, bits };
    }
  }
  return { factor: 1, shift: 0, bits: MOST_BITS };
}
