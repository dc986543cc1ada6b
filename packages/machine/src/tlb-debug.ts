import { instructionAddress } from '@nestvm/cpu';
import type { MmuOptions } from '@nestvm/mmu';
import { formatStale } from '@nestvm/mmu';

/** Debugging of address translation: both modes are legal for a processor, and slow. */
export interface TlbConfig {
  /** Evicts translations at random; runs with the same seed repeat. */
  readonly evictSeed?: number;
  /** Compares every use of a cached translation with a fresh walk, and tells of stale ones: number of the vCPU, one line. */
  readonly onStale?: (cpu: number, line: string) => void;
}

/** The options of the MMU of vCPU `index`, whose state is at arena offset `base`. */
export function tlbOptions(
  config: TlbConfig | undefined,
  index: number,
  buffer: ArrayBufferLike,
  base: number,
): Pick<MmuOptions, 'evict' | 'sanitize'> {
  const { evictSeed, onStale } = config ?? {};
  return {
    ...(evictSeed === undefined ? {} : { evict: randomBits(evictSeed + index) }),
    ...(onStale === undefined
      ? {}
      : { sanitize: { report: (stale) => onStale(index, formatStale(stale)), where: () => instructionAddress(buffer, base) } }),
  };
}

/** xorshift32 from a seed. */
export function randomBits(seed: number): () => number {
  let x = Math.imul(seed, 0x9e3779b1) ^ 0x6c078965;
  return () => {
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    return x;
  };
}
