import { count, flag, list, record, type Saved, unsigned } from '../../saved-state.js';

const timer = record({
  config: unsigned(14),
  comparatorLow: unsigned(32),
  comparatorHigh: unsigned(32),
  periodLow: unsigned(32),
  periodHigh: unsigned(32),
  highFollows: flag,
});

/** Saved state of the HPET. */
export const hpetSchema = record({
  config: unsigned(2),
  status: unsigned(3),
  counterLow: unsigned(32),
  counterHigh: unsigned(32),
  startTick: count,
  timers: list(timer, { length: 3 }),
});
/** Saved state of the HPET. */
export type SavedHpet = Saved<typeof hpetSchema>;
