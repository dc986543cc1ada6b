/** Entries: 256 MiB of a guest's memory without two pages in one place. */
const ENTRIES = 1 << 16;
const ENTRY_WORDS = 4;
const MAX_GENERATION = 4095;
/** log2 of the pages in 2 MiB and in 1 GiB. */
const LARGE = 9;
const HUGE = 18;
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
  /** By generation: log2 of the largest second-stage page that an entry was cut from. What one guest maps does not make the faults of another dear. */
  private readonly largestShift = new Uint8Array(MAX_GENERATION + 1);
  /** By generation: a bit for every GiB (modulo 32) that may have pieces of a 1 GiB page. */
  private readonly huge = new Int32Array(MAX_GENERATION + 1);

  /** A generation that no entry has. When the numbers are used up, everything is forgotten and `onWrap` tells the owner to renumber all stages. */
  nextGeneration(onWrap: () => void): number {
    if (this.lastGeneration === MAX_GENERATION) {
      this.clear();
      this.lastGeneration = 0;
      onWrap();
    }
    this.largestShift[++this.lastGeneration] = 0;
    this.huge[this.lastGeneration] = 0;
    return this.lastGeneration;
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
    if (sizeShift > this.largestShift[generation]!) this.largestShift[generation] = sizeShift;
    if (sizeShift > 21) this.huge[generation]! |= hugeBit(guestPage);
    const { words } = this;
    const at = this.place(generation, guestPage);
    words[at + GUEST_LOW] = guestPage | 0;
    words[at + GUEST_HIGH] = keyOf(generation, guestPage);
    words[at + BITS] = allowed | (highOf(page) << 8);
    words[at + PAGE] = page | 0;
  }

  /** Forgets a guest-physical page of a stage, and the pieces of whatever large page it lies in. */
  drop(generation: number, guestPage: number): void {
    const shift = this.largestShift[generation]!;
    if (shift === 0) return;
    const bit = hugeBit(guestPage);
    if ((this.huge[generation]! & bit) !== 0) {
      this.dropHuge(generation, bit);
      return;
    }
    const pages = shift > 12 ? 1 << LARGE : 1;
    const first = guestPage - (guestPage % pages);
    for (let page = first; page < first + pages; page++) {
      if (this.find(generation, page) !== 0) this.words[this.at + GUEST_HIGH] = 0;
    }
  }

  /** Forgets everything. */
  clear(): void {
    this.words.fill(0);
    this.largestShift.fill(0);
    this.huge.fill(0);
  }

  /** Forgets a part of everything: random eviction. */
  evict(random: number): void {
    const start = (random * ENTRY_WORDS) & this.mask;
    this.words.fill(0, start, start + EVICTED * ENTRY_WORDS);
  }

  /** Looks through all places, once for each time that pieces of a 1 GiB page were stored since. */
  private dropHuge(generation: number, bit: number): void {
    const { words } = this;
    for (let at = 0; at < words.length; at += ENTRY_WORDS) {
      const key = words[at + GUEST_HIGH]!;
      if (key >>> 8 !== generation) continue;
      if (hugeBit((key & 0xff) * 0x1_0000_0000 + (words[at + GUEST_LOW]! >>> 0)) === bit) words[at + GUEST_HIGH] = 0;
    }
    this.huge[generation]! &= ~bit;
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

/** The bit of a guest-physical page in `huge`. */
const hugeBit = (guestPage: number): number => 1 << ((guestPage / (1 << HUGE)) & 31);
const highOf = (page: number): number => (page < 0x1_0000_0000 ? 0 : Math.floor(page / 0x1_0000_0000));
/** No generation is 0, so that an entry of zeros belongs to none. */
const keyOf = (generation: number, guestPage: number): number => (generation << 8) | highOf(guestPage);
