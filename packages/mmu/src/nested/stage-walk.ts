/** How a walk of second-stage tables ended. */
export const StageWalked = { MAPPED: 0, NOT_PRESENT: 1, MISCONFIGURED: 2 } as const;

/** What the entries of a second stage leave of an access; bits of `StageWalk.rights`. */
export const StageRight = {
  READ: 1 << 0,
  WRITE: 1 << 1,
  /** For supervisor-mode linear addresses, or for all without mode-based execute control. */
  EXECUTE: 1 << 2,
  USER_EXECUTE: 1 << 3,
} as const;

const MAX_LEVELS = 5;

/** The result of a walk of EPT or NPT, made once and written over by each. */
export class StageWalk {
  /** Physical number of the 4 KiB page. */
  page = 0;
  /** `StageRight` bits that all entries grant. */
  rights = 0;
  /** Whether all entries but the leaf grant writing. */
  writableAbove = true;
  /** log2 of the page size. */
  sizeShift = 12;
  /** The entry looked at last: the leaf after `MAPPED`, else the one that ended the walk. */
  lastLow = 0;
  lastHigh = 0;
  /** How many entries were used; the last is the leaf. */
  depth = 0;
  /** Physical address and low word of each entry used. */
  readonly address = new Float64Array(MAX_LEVELS);
  readonly low = new Int32Array(MAX_LEVELS);

  /** Begins a walk with all rights. */
  start(): void {
    this.rights = StageRight.READ | StageRight.WRITE | StageRight.EXECUTE | StageRight.USER_EXECUTE;
    this.writableAbove = true;
    this.depth = 0;
    this.lastLow = 0;
    this.lastHigh = 0;
  }

  /** Notes an entry on the way. */
  use(address: number, low: number): void {
    this.address[this.depth] = address;
    this.low[this.depth] = low;
    this.depth++;
  }
}
