/** What is special about an arena page; one byte for each in `PhysicalMemory.pageFlags`. */
export const PageFlag = {
  /** Decoded or compiled code comes from this page: `onCodeWrite` hears of a write before it happens. */
  CODE: 1 << 0,
  /** Never written, or clean while the dirty log runs: the first write is logged and clears this. */
  DIRTY_LOG: 1 << 1,
  /** Somebody watches it: `onWatchedWrite` hears of a write before it happens. */
  WATCHED: 1 << 2,
  /** Read-only for the guest. */
  ROM: 1 << 3,
  /** Some TLB may hold write access; kept by `mmu`, so that taking the access away can skip most pages. */
  WRITE_CACHED: 1 << 7,
} as const;

/** The flags that keep a page out of every write TLB. */
export const WRITE_TRAP = PageFlag.CODE | PageFlag.DIRTY_LOG | PageFlag.WATCHED | PageFlag.ROM;
