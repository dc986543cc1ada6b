const ENTRIES = 4096;
const KEY_UNIT = 2 ** 40;
const MAX_GENERATION = 4095;

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
 * giving a stage a new generation forgets all its entries at once.
 */
export class StageCache {
  /** Entry that `find` found. */
  index = 0;
  private readonly key = new Float64Array(ENTRIES).fill(-1);
  private readonly pages = new Float64Array(ENTRIES);
  private readonly bits = new Uint8Array(ENTRIES);
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
    const index = slotOf(generation, guestPage);
    this.index = index;
    return this.key[index] === generation * KEY_UNIT + guestPage ? this.bits[index]! : 0;
  }

  /** Physical page of the entry found last. */
  get page(): number {
    return this.pages[this.index]!;
  }

  /** Stores a page; `sizeShift` is log2 of the page that the second stage maps. */
  put(generation: number, guestPage: number, page: number, allowed: number, sizeShift: number): void {
    if (sizeShift > this.largestShift) this.largestShift = sizeShift;
    const index = slotOf(generation, guestPage);
    this.key[index] = generation * KEY_UNIT + guestPage;
    this.pages[index] = page;
    this.bits[index] = allowed;
  }

  /** Forgets a guest-physical page of a stage, and the pieces of whatever large page it lies in. */
  drop(generation: number, guestPage: number): void {
    const pages = 2 ** (this.largestShift - 12);
    if (pages >= ENTRIES) {
      this.dropRange(generation, guestPage - (guestPage % pages), pages);
      return;
    }
    for (let page = guestPage - (guestPage % pages), left = pages; left > 0; page++, left--) {
      const index = slotOf(generation, page);
      if (this.key[index] === generation * KEY_UNIT + page) this.key[index] = -1;
    }
  }

  private dropRange(generation: number, first: number, pages: number): void {
    const from = generation * KEY_UNIT + first;
    for (let index = 0; index < ENTRIES; index++) {
      const key = this.key[index]!;
      if (key >= from && key < from + pages) this.key[index] = -1;
    }
  }

  /** Forgets everything. */
  clear(): void {
    this.key.fill(-1);
    this.largestShift = 12;
  }
}

/** The same page of several stages lies in different slots. */
const slotOf = (generation: number, guestPage: number): number => (guestPage + generation * 0x9e5) & (ENTRIES - 1);
