/** A source of random words for RDRAND and RDSEED. */
export interface RandomSource {
  /** The next 32 bits, as an int32. */
  next(): number;
}

/** A deterministic generator (xorshift128 by Marsaglia): equal seeds give equal runs. Not for secrets. */
export function createDeterministicRandom(seed: number): RandomSource {
  let x = seed | 0 || 0x6d2b79f5;
  let y = 0x1f123bb5;
  let z = 0x5491333d;
  let w = 0x2545f491;
  return {
    next: () => {
      const t = x ^ (x << 11);
      x = y;
      y = z;
      z = w;
      w = w ^ (w >>> 19) ^ t ^ (t >>> 8);
      return w | 0;
    },
  };
}
