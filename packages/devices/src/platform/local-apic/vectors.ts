/** A set of 256 interrupt vectors that knows its highest member. */
export class VectorSet {
  readonly words = new Uint32Array(8);
  /** Highest vector in the set, or -1. */
  highest = -1;

  has(vector: number): boolean {
    return (this.words[vector >> 5] & (1 << (vector & 31))) !== 0;
  }

  add(vector: number): void {
    this.words[vector >> 5] |= 1 << (vector & 31);
    if (vector > this.highest) this.highest = vector;
  }

  delete(vector: number): void {
    this.words[vector >> 5] &= ~(1 << (vector & 31));
    if (vector === this.highest) this.#find();
  }

  clear(): void {
    this.words.fill(0);
    this.highest = -1;
  }

  load(words: readonly number[]): void {
    this.words.set(words);
    this.#find();
  }

  #find(): void {
    for (let word = 7; word >= 0; word--) {
      if (this.words[word] !== 0) {
        this.highest = word * 32 + 31 - Math.clz32(this.words[word]);
        return;
      }
    }
    this.highest = -1;
  }
}
