import { count, flag, integer, list, record, type Saved, unsigned } from '../../saved-state.js';

const counter = record({
  mode: integer(0, 5),
  access: integer(1, 3),
  bcd: flag,
  gate: flag,
  loaded: flag,
  running: flag,
  initial: integer(1, 65536),
  next: integer(0, 65536),
  switchAt: count,
  base: count,
  startTick: count,
  writeHigh: flag,
  readHigh: flag,
  writeLow: unsigned(8),
  countLatch: integer(-1, 0xffff),
  latchBytes: integer(0, 2),
  statusLatch: integer(-1, 0xff),
});

/** Saved state of one counter. */
export type SavedPitCounter = Saved<typeof counter>;

/** Saved state of the 8254 and port 0x61. */
export const pitSchema = record({ counters: list(counter, { length: 3 }), portB: unsigned(4), irqEnabled: flag, irqLevel: integer(0, 1) });
/** Saved state of the 8254 and port 0x61. */
export type SavedPit = Saved<typeof pitSchema>;
