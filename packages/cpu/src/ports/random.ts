/** A source of random words for RDRAND and RDSEED. */
export interface RandomSource {
  /** The next 32 bits, as an int32. */
  next(): number;
}

/** A source whose future is its four words of state. */
export interface DeterministicRandom extends RandomSource {
  save(): readonly number[];
  /** Continues where a generator was that gave these words. */
  load(words: readonly number[]): void;
}

/** A deterministic generator (xorshift128 by Marsaglia): equal seeds give equal runs. Not for secrets. */
export function createDeterministicRandom(seed: number): DeterministicRandom {
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
    save: () => [x, y, z, w],
    load: (words) => {
      [x, y, z, w] = [words[0]! | 0, words[1]! | 0, words[2]! | 0, words[3]! | 0];
    },
  };
}
