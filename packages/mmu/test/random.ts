/** A small repeatable generator (xorshift32 steps): the same seed gives the same test on every machine. */
export class Random {
  constructor(private state: number) {}

  /** 32 random bits, int32. */
  bits(): number {
    let x = this.state;
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    return (this.state = x);
  }

  /** An integer in [0, n). */
  below(n: number): number {
    return (this.bits() >>> 0) % n;
  }

  /** True `percent` times in a hundred. */
  chance(percent: number): boolean {
    return this.below(100) < percent;
  }

  /** One of the items. */
  pick<T>(items: readonly T[]): T {
    return items[this.below(items.length)]!;
  }
}
