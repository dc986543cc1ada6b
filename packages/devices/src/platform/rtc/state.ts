import { count, integer, list, record, type Saved, unsigned } from '../../saved-state.js';

/** Saved state of the RTC: CMOS bytes, and how its seconds relate to the clock. */
export const rtcSchema = record({
  cmos: list(unsigned(8), { length: 128 }),
  index: unsigned(7),
  flags: unsigned(8),
  epochSeconds: integer(-(2 ** 40), 2 ** 40),
  epochNs: count,
  periodsSeen: count,
  secondsSeen: integer(-(2 ** 41), 2 ** 41),
});
/** Saved state of the RTC. */
export type SavedRtc = Saved<typeof rtcSchema>;
