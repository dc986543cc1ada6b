/** Feature bits of a balloon ("VIRTIO", Traditional Memory Balloon Device). */
export const BalloonFeature = {
  MUST_TELL_HOST: 0,
  STATS_VQ: 1,
  DEFLATE_ON_OOM: 2,
  FREE_PAGE_HINT: 3,
  PAGE_POISON: 4,
  PAGE_REPORTING: 5,
} as const;
/** Offsets in its configuration space. */
export const BalloonConfig = { PAGES: 0, ACTUAL: 4, HINT_COMMAND: 8, POISON: 12, BYTES: 16 } as const;
/** Its queues. */
export const BalloonQueue = { INFLATE: 0, DEFLATE: 1, STATISTICS: 2, HINT: 3, REPORT: 4, COUNT: 5 } as const;
/** Commands of free page hinting that are no number of a round. */
export const HintCommand = { STOP: 0, DONE: 1, FIRST: 2 } as const;
/** A page of the balloon, whatever pages the guest has. */
export const BALLOON_PAGE_BYTES = 4096;
/** Statistics by their tag (Memory Statistics Tags). */
export const STATISTIC_NAMES = [
  'swap-in',
  'swap-out',
  'major-faults',
  'minor-faults',
  'free-memory',
  'total-memory',
  'available-memory',
  'disk-caches',
  'hugetlb-allocations',
  'hugetlb-failures',
  'oom-kills',
  'allocation-stalls',
  'asynchronous-scans',
  'direct-scans',
  'asynchronous-reclaims',
  'direct-reclaims',
] as const;
/** Bytes of one statistic: a tag of 16 bits and a value of 64. */
export const STATISTIC_BYTES = 10;
