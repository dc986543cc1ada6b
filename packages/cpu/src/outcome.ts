/** What a system instruction did, as the dispatcher must know it. */
export const Outcome = {
  /** Done: RIP advances past the instruction. */
  NEXT: 0,
  /** Done, and RIP was set by the instruction (or by a VM exit in its place). */
  JUMPED: 1,
  /** A fault was recorded by `raise`; nothing architectural was changed. */
  FAULT: 2,
  /** RIP is unchanged; run the instruction again after looking at events (REP I/O in progress). */
  REPEAT: 3,
} as const;

/** One of the values of {@link Outcome}. */
export type Outcome = (typeof Outcome)[keyof typeof Outcome];
