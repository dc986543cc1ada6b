import { JOURNAL_REGION_WORDS, Journal } from './journal.js';

const LARGE = Journal.LARGE / 4;
const HUGE = Journal.HUGE / 4;
const REGIONS = Journal.REGIONS / 4;

/** Multipliers of the hash of a region: of the high half of its address, and of both together; how many bits are dropped. */
export const RegionHash = { HIGH: 0x85ebca6b, ALL: 0x9e3779b1, SHIFT: 21 } as const;

/**
 * Which regions of each TLB bank may hold entries cut from large pages: a bit for each hash of a 4 MiB region and one for each hash of a 1 GiB region. Without it every page
 * fault would have to look for the pieces of a large page; the kernel's direct map alone makes the question come up in most banks. The bits are in the banks' journals.
 */
export class LargePages {
  /** `first` is the word of the first journal in `i32`. */
  constructor(
    private readonly i32: Int32Array,
    private readonly first: number,
  ) {}

  private journal(bank: number): number {
    return this.first + bank * (Journal.BYTES / 4);
  }

  /** An entry cut from a page of 2 MiB, 4 MiB or 1 GiB (`sizeShift`) was put into a bank. */
  note(bank: number, lo: number, hi: number, sizeShift: number): void {
    const { i32 } = this;
    const journal = this.journal(bank);
    i32[journal + LARGE] = 1;
    if (sizeShift === 30) {
      i32[journal + HUGE]! |= 1 << (hashOf(lo >>> 30, hi) & 31);
      return;
    }
    const hash = hashOf(lo >>> 22, hi);
    i32[journal + REGIONS + (hash & (JOURNAL_REGION_WORDS - 1))]! |= 1 << (hash >>> 6);
  }

  /** Whether a bank may hold pieces of a large page that maps an address. */
  mayHold(bank: number, lo: number, hi: number): boolean {
    const { i32 } = this;
    const journal = this.journal(bank);
    if (i32[journal + LARGE] === 0) return false;
    const hash = hashOf(lo >>> 22, hi);
    return ((i32[journal + REGIONS + (hash & (JOURNAL_REGION_WORDS - 1))]! >>> (hash >>> 6)) & 1) !== 0 || this.mayHoldHuge(bank, lo, hi);
  }

  /** The same for pages of 1 GiB. */
  mayHoldHuge(bank: number, lo: number, hi: number): boolean {
    return ((this.i32[this.journal(bank) + HUGE]! >>> (hashOf(lo >>> 30, hi) & 31)) & 1) !== 0;
  }

  /** A bank has lost its entries. */
  clear(bank: number): void {
    const { i32 } = this;
    const journal = this.journal(bank);
    if (i32[journal + LARGE] === 0) return;
    i32[journal + LARGE] = 0;
    i32[journal + HUGE] = 0;
    i32.fill(0, journal + REGIONS, journal + REGIONS + JOURNAL_REGION_WORDS);
  }
}

/** 11 bits of a region's number and the high half of its address. */
const hashOf = (region: number, hi: number): number => Math.imul(region ^ Math.imul(hi, RegionHash.HIGH), RegionHash.ALL) >>> RegionHash.SHIFT;
