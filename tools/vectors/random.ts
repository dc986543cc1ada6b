/** A small generator of repeatable random numbers (sfc32), so that a capture of the same seed asks the same questions. */
export class Random {
  #a: number;
  #b: number;
  #c: number;
  #d = 1;

  constructor(seed: string) {
    let hash = 0x811c9dc5;
    for (let i = 0; i < seed.length; i++) hash = Math.imul(hash ^ seed.charCodeAt(i), 0x01000193);
    this.#a = hash;
    this.#b = ~hash;
    this.#c = Math.imul(hash, 0x9e3779b1);
    for (let i = 0; i < 16; i++) this.u32();
  }

  /** 0 … 2^32-1. */
  u32(): number {
    const t = (((this.#a + this.#b) | 0) + this.#d) | 0;
    this.#d = (this.#d + 1) | 0;
    this.#a = this.#b ^ (this.#b >>> 9);
    this.#b = (this.#c + (this.#c << 3)) | 0;
    this.#c = (this.#c << 21) | (this.#c >>> 11);
    this.#c = (this.#c + t) | 0;
    return t >>> 0;
  }

  /** 0 … bound-1. */
  below(bound: number): number {
    return Math.floor((this.u32() / 0x1_0000_0000) * bound);
  }

  /** low … high, both possible. */
  between(low: number, high: number): number {
    return low + this.below(high - low + 1);
  }

  chance(probability: number): boolean {
    return this.u32() < probability * 0x1_0000_0000;
  }

  pick<T>(list: readonly T[]): T {
    return list[this.below(list.length)] as T;
  }

  /** A random integer of so many bits. */
  bits(count: number): bigint {
    let value = 0n;
    for (let at = 0; at < count; at += 32) value = (value << 32n) | BigInt(this.u32());
    return BigInt.asUintN(count, value);
  }
}
