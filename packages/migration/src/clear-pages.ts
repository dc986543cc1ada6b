/** Bytes of a page, and of what is compared at once. */
export const PAGE_BYTES = 4096;
const STRETCH_PAGES = 16;
const CLEAR = new Uint8Array(STRETCH_PAGES * PAGE_BYTES);
const CLEAR_PAGE = CLEAR.subarray(0, PAGE_BYTES);

/** Whether two arrays of one length hold the same bytes. */
export type Comparison = (a: Uint8Array, b: Uint8Array) => boolean;

let host: Comparison | undefined;

/** Has a comparison of the host (`Buffer.compare` of Node) look for clear memory, which is several times as fast, if it tells right from wrong: false when it does not. */
export function useHostComparison(comparison: Comparison): boolean {
  const same = comparison(CLEAR.subarray(1), CLEAR.subarray(0, -1));
  const other = CLEAR.slice();
  other[other.length - 1] = 1;
  if (!same || comparison(other, CLEAR)) return false;
  host = comparison;
  return true;
}

/** Tells which pages of a block are clear: hold nothing but zeros. */
export class ClearPages {
  private readonly words: Int32Array;
  /** The stretch that was compared last, and whether all of it was clear. */
  private stretch = -1;
  private allClear = false;

  constructor(private readonly bytes: Uint8Array) {
    this.words = new Int32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4);
  }

  /** Memory may have changed. */
  forget(): void {
    this.stretch = -1;
  }

  has(page: number): boolean {
    const { words } = this;
    const at = page * (PAGE_BYTES / 4);
    // Of nearly all pages that hold something the first bytes tell it.
    const first = words[at]! | words[at + 1]! | words[at + 2]! | words[at + 3]!;
    if ((first | words[at + 4]! | words[at + 5]! | words[at + 6]! | words[at + 7]!) !== 0) return false;
    return host === undefined ? this.look(at) : this.compare(page, host);
  }

  /** Clear pages have clear neighbours, as a rule: those are looked at with it. */
  private compare(page: number, same: Comparison): boolean {
    const { bytes } = this;
    const stretch = Math.floor(page / STRETCH_PAGES);
    if (stretch !== this.stretch) {
      this.stretch = stretch;
      const all = bytes.subarray(stretch * CLEAR.length, (stretch + 1) * CLEAR.length);
      this.allClear = same(all, all.length === CLEAR.length ? CLEAR : CLEAR.subarray(0, all.length));
    }
    return this.allClear || same(bytes.subarray(page * PAGE_BYTES, (page + 1) * PAGE_BYTES), CLEAR_PAGE);
  }

  private look(start: number): boolean {
    const { words } = this;
    // Eight at once: twice as fast as one by one.
    for (let i = start; i < start + PAGE_BYTES / 4; i += 8) {
      const first = words[i]! | words[i + 1]! | words[i + 2]! | words[i + 3]!;
      if ((first | words[i + 4]! | words[i + 5]! | words[i + 6]! | words[i + 7]!) !== 0) return false;
    }
    return true;
  }
}

/** How many pages bitmaps have. */
export function countPages(bitmaps: readonly Uint32Array[]): number {
  let count = 0;
  for (const bitmap of bitmaps)
    for (const word of bitmap) {
      if (word === 0) continue;
      // Counts of pairs, of fours, of bytes, and their sum in the top byte.
      const pairs = word - ((word >>> 1) & 0x5555_5555);
      const fours = (pairs & 0x3333_3333) + ((pairs >>> 2) & 0x3333_3333);
      count += Math.imul((fours + (fours >>> 4)) & 0x0f0f_0f0f, 0x0101_0101) >>> 24;
    }
  return count;
}

/** Whether a bitmap has a page. */
export const hasPage = (bitmap: Uint32Array, page: number): boolean => ((bitmap[page >>> 5]! >>> (page & 31)) & 1) !== 0;

/** The first page from `from` on that a bitmap has, or has not; `end` when there is none before it. */
export function nextPage(bitmap: Uint32Array, has: boolean, from: number, end: number): number {
  const flip = has ? 0 : -1;
  for (let page = from; page < end; page = (page | 31) + 1) {
    const word = (bitmap[page >>> 5]! ^ flip) >>> (page & 31);
    if (word !== 0) return Math.min(end, page + 31 - Math.clz32(word & -word));
  }
  return end;
}

/**
 * Clears the pages of a block that are to be clear, of those that may not be so (`touched`, default all). What is clear is not written, and what was never touched
 * not even read, so that the host needs no memory for it.
 */
export function clearPages(bytes: Uint8Array, isWanted: (page: number) => boolean, touched?: Uint32Array): void {
  const clear = new ClearPages(bytes);
  const pages = bytes.length / PAGE_BYTES;
  for (let page = 0; page < pages; page++) {
    if (touched !== undefined && !hasPage(touched, page)) {
      if (touched[page >>> 5] === 0) page |= 31;
      continue;
    }
    if (isWanted(page) && !clear.has(page)) bytes.fill(0, page * PAGE_BYTES, (page + 1) * PAGE_BYTES);
  }
}
