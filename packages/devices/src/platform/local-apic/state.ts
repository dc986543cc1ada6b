import { count, flag, integer, list, record, type Saved, unsigned } from '../../saved-state.js';

const bits256 = list(unsigned(32), { length: 8 });

/** Saved state of a local APIC. */
export const localApicSchema = record({
  baseLow: unsigned(32),
  baseHigh: unsigned(32),
  id: unsigned(32),
  tpr: unsigned(8),
  ldr: unsigned(32),
  dfr: unsigned(32),
  svr: unsigned(32),
  esr: unsigned(32),
  errors: unsigned(32),
  icrLow: unsigned(32),
  icrHigh: unsigned(32),
  lvt: list(unsigned(32), { length: 6 }),
  request: bits256,
  service: bits256,
  trigger: bits256,
  lint: list(integer(0, 1), { length: 2 }),
  nmi: flag,
  smi: flag,
  init: flag,
  sipi: integer(-1, 255),
  waitingForSipi: flag,
  timer: record({
    initial: unsigned(32),
    divide: unsigned(4),
    startNs: count,
    expired: flag,
    deadlineLow: unsigned(32),
    deadlineHigh: unsigned(32),
  }),
});
/** Saved state of a local APIC. */
export type SavedLocalApic = Saved<typeof localApicSchema>;
