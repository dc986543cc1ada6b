/** Fills of a bank that are remembered one by one, so that a bank with few entries is cleared without touching all of it. */
export const JOURNAL_FILLS = 256;
const REGION_WORDS = 64;
const REGIONS = 16;
const LOG = REGIONS + 4 * REGION_WORDS;

/**
 * Byte offsets in the journal of a bank, which lies in the arena because generated code fills TLBs too. `FILLS`: how often the bank was filled since it was cleared, up to one more than
 * are remembered. `LOG`: words
 * in the arena of the two entries of each of the first `JOURNAL_FILLS` times. `LARGE`, `HUGE` and `REGIONS`: see `LargePages`.
 */
export const Journal = { FILLS: 0, LARGE: 4, HUGE: 8, REGIONS, LOG, BYTES: LOG + 8 * JOURNAL_FILLS } as const;

/** Words of the filter of regions. */
export const JOURNAL_REGION_WORDS = REGION_WORDS;
