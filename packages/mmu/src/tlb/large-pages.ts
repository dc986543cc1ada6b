const WORDS = 64;

/**
 * Which regions of each TLB bank may hold entries cut from large pages: a bit for each hash of a 4 MiB region and one for each hash of a 1 GiB region. Without it every page
 * fault would have to look for the pieces of a large page; the kernel's direct map alone makes the question come up in most banks.
 */
export class LargePages {
  private readonly regions: Int32Array;
  private readonly huge: Int32Array;
  /** 1: a bank has any bit set. */
  private readonly used: Uint8Array;

  constructor(banks: number) {
    this.regions = new Int32Array(banks * WORDS);
    this.huge = new Int32Array(banks);
    this.used = new Uint8Array(banks);
  }

  /** An entry cut from a page of 2 MiB, 4 MiB or 1 GiB (`sizeShift`) was put into a bank. */
  note(bank: number, lo: number, hi: number, sizeShift: number): void {
    this.used[bank] = 1;
    if (sizeShift === 30) {
      this.huge[bank]! |= 1 << (hashOf(lo >>> 30, hi) & 31);
      return;
    }
    const hash = hashOf(lo >>> 22, hi);
    this.regions[bank * WORDS + (hash & (WORDS - 1))]! |= 1 << (hash >>> 6);
  }

  /** Whether a bank may hold pieces of a large page that maps an address. */
  mayHold(bank: number, lo: number, hi: number): boolean {
    if (this.used[bank] === 0) return false;
    const hash = hashOf(lo >>> 22, hi);
    return ((this.regions[bank * WORDS + (hash & (WORDS - 1))]! >>> (hash >>> 6)) & 1) !== 0 || this.mayHoldHuge(bank, lo, hi);
  }

  /** The same for pages of 1 GiB. */
  mayHoldHuge(bank: number, lo: number, hi: number): boolean {
    return ((this.huge[bank]! >>> (hashOf(lo >>> 30, hi) & 31)) & 1) !== 0;
  }

  /** A bank has lost its entries. */
  clear(bank: number): void {
    if (this.used[bank] === 0) return;
    this.used[bank] = 0;
    this.huge[bank] = 0;
    this.regions.fill(0, bank * WORDS, (bank + 1) * WORDS);
  }
}

/** 11 bits of a region's number and the high half of its address. */
const hashOf = (region: number, hi: number): number => Math.imul(region ^ Math.imul(hi, 0x85ebca6b), 0x9e3779b1) >>> 21;
