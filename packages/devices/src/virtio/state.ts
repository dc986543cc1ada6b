import { count, flag, integer, list, record, type Saved, type Schema, unsigned } from '../saved-state.js';
import { MAX_QUEUE_SIZE } from './registers.js';

const anything: Schema<unknown> = { check: (value) => value };

const position = record({
  available: unsigned(16),
  used: unsigned(16),
  availableWrap: flag,
  usedWrap: flag,
});

const orNull = <T>(schema: Schema<T>): Schema<T | null> => ({ check: (value, path) => (value === null ? null : schema.check(value, path)) });

const chain = record({
  id: unsigned(16),
  slots: integer(0, MAX_QUEUE_SIZE),
  addresses: list(unsigned(52), { max: MAX_QUEUE_SIZE }),
  lengths: list(unsigned(32), { max: MAX_QUEUE_SIZE }),
  readables: integer(0, MAX_QUEUE_SIZE),
  written: integer(-1, 2 ** 32),
});

/** Saved state of a queue. */
export const queueSchema = record({
  size: unsigned(16),
  enabled: flag,
  words: list(unsigned(32), { length: 6 }),
  position: orNull(position),
  held: list(chain, { max: MAX_QUEUE_SIZE }),
});
/** Saved state of a queue. */
export type SavedQueue = Saved<typeof queueSchema>;

/** Saved state of what all devices have; `own` is the device type's. */
export const virtioSchema = record({
  status: unsigned(8),
  driverFeatures: list(unsigned(32), { length: 2 }),
  generation: count,
  config: list(unsigned(8), { max: 4096 }),
  queues: list(queueSchema, { max: 1024 }),
  own: anything,
});
/** Saved state of a virtio device. */
export type SavedVirtio = Saved<typeof virtioSchema>;

/** Saved state of a transport over PCI; the function itself is the host's. */
export const virtioPciSchema = record({
  device: anything,
  select: list(unsigned(32), { length: 3 }),
  interruptStatus: unsigned(8),
  vectors: list(unsigned(16), { max: 1025 }),
});
/** Saved state of a transport over PCI. */
export type SavedVirtioPci = Saved<typeof virtioPciSchema>;

/** Saved state of a transport over MMIO. */
export const virtioMmioSchema = record({
  device: anything,
  select: list(unsigned(32), { length: 3 }),
  interruptStatus: unsigned(8),
});
/** Saved state of a transport over MMIO. */
export type SavedVirtioMmio = Saved<typeof virtioMmioSchema>;
