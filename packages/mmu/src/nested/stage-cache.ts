/** Entries: 256 MiB of a guest's memory without two pages in one place. */
const ENTRIES = 1 << 16;
const ENTRY_WORDS = 4;
const MAX_GENERATION = 4095;
/** Entries that one random eviction forgets. */
const EVICTED = 256;
/** Words of an entry: low half of the guest page; its high half (8 bits) and the generation; `Allowed` bits and the high half of the page; its low half. */
const [GUEST_LOW, GUEST_HIGH, BITS, PAGE] = [0, 1, 2, 3] as const;

/** What may be done at once with a cached guest-physical page: no fault is due and no flag is left to set. */
export const Allowed = {
  READ: 1 << 0,
  WRITE: 1 << 1,
  EXECUTE: 1 << 2,
  USER_EXECUTE: 1 << 3,
  /** Accesses to guest tables, where they count as writes. */
  TABLE_WRITE: 1 << 4,
  /** EPT paging-write access (bit 58). */
  PAGING_WRITE: 1 << 5,
  /** EPT verify guest paging (bit 57). */
  VERIFY: 1 << 6,
} as const;

/**
 * Guest-physical page → physical page, direct-mapped, for all second stages of a vCPU. Entries carry the generation of their stage in the key:
 * giving a stage a new generation forgets all its entries at once. Takes no memory until something is stored.
 */
export class StageCache {
  /** Word of the entry that `find` found. */
  private at = 0;
  private words = new Int32Array(ENTRY_WORDS);
  /** Mask of word indices; 0 while nothing has been stored. */
  private mask = 0;
  private lastGeneration = 0;
  /** log2 of the largest second-stage page that an entry was cut from since all was forgotten. */
  private largestShift = 12;

  /** A generation that no entry has. When the numbers are used up, everything is forgotten and `onWrap` tells the owner to renumber all stages. */
  nextGeneration(onWrap: () => void): number {
    if (this.lastGeneration === MAX_GENERATION) {
      this.clear();
      this.lastGeneration = 0;
      onWrap();
    }
    return ++this.lastGeneration;
  }

  /** `Allowed` bits of a guest-physical page (0: not cached); `page` then tells where it is. */
  find(generation: number, guestPage: number): number {
    const { words } = this;
    const at = this.place(generation, guestPage);
    this.at = at;
    return words[at] === (guestPage | 0) && words[at + GUEST_HIGH] === keyOf(generation, guestPage) ? words[at + BITS]! & 0xff : 0;
  }

  /** Physical page of the entry found last. */
  get page(): number {
    const { words, at } = this;
    const high = words[at + BITS]! >>> 8;
    return high === 0 ? words[at + PAGE]! >>> 0 : high * 0x1_0000_0000 + (words[at + PAGE]! >>> 0);
  }

  /** Stores a page; `sizeShift` is log2 of the page that the second stage maps. */
  put(generation: number, guestPage: number, page: number, allowed: number, sizeShift: number): void {
    if (this.mask === 0) this.grow();
    if (sizeShift > this.largestShift) this.largestShift = sizeShift;
    const { words } = this;
    const at = this.place(generation, guestPage);
    words[at + GUEST_LOW] = guestPage | 0;
    words[at + GUEST_HIGH] = keyOf(generation, guestPage);
    words[at + BITS] = allowed | (highOf(page) << 8);
    words[at + PAGE] = page | 0;
  }

  /** Forgets a guest-physical page of a stage, and the pieces of whatever large page it lies in. */
  drop(generation: number, guestPage: number): void {
    const pages = 2 ** (this.largestShift - 12);
    const first = guestPage - (guestPage % pages);
    if (pages > ENTRIES) {
      this.dropRange(generation, first, pages);
      return;
    }
    for (let page = first; page < first + pages; page++) {
      if (this.find(generation, page) !== 0) this.words[this.at + GUEST_HIGH] = 0;
    }
  }

  /** Forgets everything. */
  clear(): void {
    this.words.fill(0);
    this.largestShift = 12;
  }

  /** Forgets a part of everything: random eviction. */
  evict(random: number): void {
    const start = (random * ENTRY_WORDS) & this.mask;
    this.words.fill(0, start, start + EVICTED * ENTRY_WORDS);
  }

  private dropRange(generation: number, first: number, pages: number): void {
    const { words } = this;
    for (let at = 0; at < words.length; at += ENTRY_WORDS) {
      const key = words[at + GUEST_HIGH]!;
      const page = (key & 0xff) * 0x1_0000_0000 + (words[at + GUEST_LOW]! >>> 0);
      if (key >>> 8 === generation && page >= first && page < first + pages) words[at + GUEST_HIGH] = 0;
    }
  }

  private grow(): void {
    this.words = new Int32Array(ENTRIES * ENTRY_WORDS);
    this.mask = (ENTRIES - 1) * ENTRY_WORDS;
  }

  /** The same page of several stages lies in different places. */
  private place(generation: number, guestPage: number): number {
    return (((guestPage | 0) + Math.imul(generation, 0x9e5)) * ENTRY_WORDS) & this.mask;
  }
}

const highOf = (page: number): number => (page < 0x1_0000_0000 ? 0 : Math.floor(page / 0x1_0000_0000));
/** No generation is 0, so that an entry of zeros belongs to none. */
const keyOf = (generation: number, guestPage: number): number => (generation << 8) | highOf(guestPage);
