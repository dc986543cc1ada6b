import type { Engine } from '@nestvm/cpu';
import type { Jit } from '@nestvm/jit';
import type { Mmu } from '@nestvm/mmu';
import { randomBits } from './tlb-debug.js';

/** Drops caches at random instants, for tests: none of them is state, so the guest must not see any of it. */
export interface DropConfig {
  /** Runs with the same seed drop at the same instants, as far as the clock repeats. */
  readonly seed: number;
  /** Slices between two drops, on average (64). A slice has up to 200,000 instructions, and ends at the next timer. */
  readonly every?: number;
}

/** Most drops are of translations, which are back soonest; code is decoded, and compiled, anew at a price. */
const KINDS = 8;

/** Drops decoded code, compiled code and translations between two slices of the vCPUs. */
export class CacheDrops {
  /** How often what has gone so far. */
  readonly counters = { translations: 0, compiled: 0, decoded: 0 };
  private readonly random: () => number;
  private readonly every: number;

  constructor(
    private readonly caches: { readonly engine: Engine; readonly jit: Jit | null; readonly mmus: readonly Mmu[] },
    { seed, every = 64 }: DropConfig,
  ) {
    this.random = randomBits(seed);
    this.every = every;
  }

  /** A vCPU is about to run. */
  beforeSlice(): void {
    if ((this.random() >>> 0) % this.every !== 0) return;
    const kind = (this.random() >>> 8) % KINDS;
    const { engine, jit, mmus } = this.caches;
    if (kind === 0) {
      engine.cache.flush();
      this.counters.decoded++;
    } else if (kind <= 2 && jit !== null) {
      jit.flush();
      this.counters.compiled++;
    } else {
      for (const mmu of mmus) mmu.flushAll();
      this.counters.translations++;
    }
  }
}
