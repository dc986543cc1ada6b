/** How a walk of the guest's tables ended. */
export const Walked = {
  MAPPED: 0,
  NOT_PRESENT: 1,
  RESERVED: 2,
  /** The second stage refused an access to a table; it knows why. */
  SECOND_STAGE: 3,
  /** An entry of HLAT paging asks for ordinary paging instead. */
  RESTART: 4,
} as const;

/** Bits of `Walk.rights`, as the entries spell them. */
export const Rights = {
  WRITE: 1 << 1,
  USER: 1 << 2,
  /** XD in some entry. */
  NO_EXECUTE: 1 << 3,
  /** The page of a shadow stack: see `Walk.isShadowStack`. For a second stage: the access is one of a shadow stack. */
  SHADOW_STACK: 1 << 4,
} as const;

/** Bits of paging-structure entries that all formats share. */
export const Entry = { P: 1 << 0, RW: 1 << 1, US: 1 << 2, PWT: 1 << 3, PCD: 1 << 4, A: 1 << 5, D: 1 << 6, PS: 1 << 7, G: 1 << 8 } as const;

const MAX_LEVELS = 5;

/** The result of a walk, made once and written over by each: page, rights, and the entries that were used. */
export class Walk {
  /** Guest-physical number of the 4 KiB page. */
  page = 0;
  rights = 0;
  /** The rights that the walk began with: all, or those of the entries above a cached table. */
  inherited = 0;
  /** Protection key of the leaf. */
  key = 0;
  /** log2 of the size that the guest maps: 12, 21, 22 or 30. */
  sizeShift = 12;
  /** How many entries were used; the last is the leaf. */
  depth = 0;
  /** Tables that an 8-byte-entry walk went through, for the paging-structure caches: page of the page directory and of the page table, or -1, and the rights so far. */
  directory = -1;
  directoryRights = 0;
  pageTable = -1;
  pageTableRights = 0;
  /** Guest-physical address and low word of each entry used. */
  readonly address = new Float64Array(MAX_LEVELS);
  readonly low = new Int32Array(MAX_LEVELS);

  /** Begins a walk. */
  start(): void {
    this.begin(Rights.WRITE | Rights.USER);
    this.depth = 0;
    this.key = 0;
    this.directory = -1;
    this.pageTable = -1;
  }

  /** Sets the rights to begin with. */
  begin(rights: number): void {
    this.rights = rights;
    this.inherited = rights;
  }

  /** Notes an entry on the way; `entryHigh` is 0 in formats without XD. */
  use(address: number, entryLow: number, entryHigh: number): void {
    this.address[this.depth] = address;
    this.low[this.depth] = entryLow;
    this.depth++;
    this.rights &= entryLow | Rights.NO_EXECUTE;
    if (entryHigh < 0) this.rights |= Rights.NO_EXECUTE;
  }

  /** The leaf is dirty and not writable, and every entry above it is writable (SDM Vol. 3, "Shadow-Stack Access Rights"). */
  get isShadowStack(): boolean {
    if ((this.inherited & Rights.WRITE) === 0) return false;
    for (let i = 0; i < this.depth - 1; i++) if ((this.low[i]! & Entry.RW) === 0) return false;
    return this.depth > 0 && (this.low[this.depth - 1]! & (Entry.RW | Entry.D)) === Entry.D;
  }

  /** True when the leaf's D flag is set. */
  get dirty(): boolean {
    return (this.low[this.depth - 1]! & Entry.D) !== 0;
  }
}
