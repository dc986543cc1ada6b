import type { Msi, Width } from '@nestvm/bus';
import { MsixControl } from './registers.js';

const ENTRY_WORDS = 4;
const MASKED = 1;

/** MSI-X table and pending bits ("PCI Local Bus Specification 3.0", MSI-X). It lies in a BAR at offset 0, the pending bits at `pendingOffset`. */
export class MsixTable {
  /** Address low and high, data, vector control, for each vector. */
  readonly words: Uint32Array;
  readonly pending: Uint32Array;
  control = 0;

  constructor(readonly vectors: number) {
    this.words = new Uint32Array(vectors * ENTRY_WORDS);
    this.pending = new Uint32Array(Math.ceil(vectors / 32));
    this.reset();
  }

  get enabled(): boolean {
    return (this.control & MsixControl.ENABLE) !== 0;
  }

  /** Where the pending bits start in the BAR: after the table, at a page. */
  get pendingOffset(): number {
    return Math.max(0x800, Math.ceil((this.words.length * 4) / 0x800) * 0x800);
  }

  reset(): void {
    this.words.fill(0);
    this.pending.fill(0);
    this.control = 0;
    for (let vector = 0; vector < this.vectors; vector++) this.words[vector * ENTRY_WORDS + 3] = MASKED;
  }

  /** Sends a vector's message, or remembers it while masked. */
  notify(vector: number, msi: Msi): void {
    if (vector >= this.vectors) return;
    const at = vector * ENTRY_WORDS;
    if (this.control & MsixControl.MASK_ALL || this.words[at + 3] & MASKED) this.pending[vector >> 5] |= 1 << (vector & 31);
    else if (this.words[at + 1] === 0) msi.send(this.words[at], this.words[at + 2]);
  }

  /** Sends what was pending and is masked no longer. */
  flush(msi: Msi): void {
    if (!this.enabled) return;
    for (let vector = 0; vector < this.vectors; vector++) {
      const bit = 1 << (vector & 31);
      if (!(this.pending[vector >> 5] & bit)) continue;
      this.pending[vector >> 5] &= ~bit;
      this.notify(vector, msi);
    }
  }

  read(offset: number, width: Width): number {
    const index = offset >> 2;
    const pendingIndex = (offset - this.pendingOffset) >> 2;
    const word = index < this.words.length ? this.words[index] : pendingIndex >= 0 ? (this.pending[pendingIndex] ?? 0) : 0;
    return width === 4 ? word : (word >>> (8 * (offset & 3))) & (width === 2 ? 0xffff : 0xff);
  }

  /** Only whole words can be written, as the specification has it. */
  write(offset: number, width: Width, value: number, msi: Msi): void {
    if (width !== 4 || offset >> 2 >= this.words.length) return;
    this.words[offset >> 2] = (offset & 15) === 12 ? value & MASKED : (offset & 15) === 0 ? value & ~3 : value;
    this.flush(msi);
  }
}
