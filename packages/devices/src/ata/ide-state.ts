import { flag, integer, list, record, type Saved, type Schema, unsigned } from '../saved-state.js';
import type { SavedDrive } from './drive.js';

/** Settings of a drive by name: small numbers. */
export const driveSchema: Schema<SavedDrive> = {
  check(value, path) {
    const names = typeof value === 'object' && value !== null && !Array.isArray(value) ? Object.keys(value) : [];
    return record(Object.fromEntries(names.map((name) => [name, unsigned(32)]))).check(value, path);
  },
};

/** A task file. */
const taskSchema = record({ command: unsigned(8), features: unsigned(16), count: unsigned(16), lba: unsigned(48), device: unsigned(8) });

/** Saved state of one channel. */
const channelSchema = record({
  task: taskSchema,
  low: list(unsigned(8), { length: 5 }),
  high: list(unsigned(8), { length: 5 }),
  device: unsigned(8),
  status: unsigned(8),
  error: unsigned(8),
  control: unsigned(8),
  interrupt: flag,
  /** What the data port does; the packet of the command, how far its transfer is, and its block. */
  phase: integer(0, 5),
  packet: list(unsigned(8), { max: 12 }),
  moved: unsigned(32),
  buffer: list(unsigned(8), { max: 0x10000 }),
  at: unsigned(16),
  master: record({ command: unsigned(8), status: unsigned(8), table: unsigned(32) }),
  drives: list(driveSchema, { length: 2 }),
});
/** Saved state of one channel. */
export type SavedChannel = Saved<typeof channelSchema>;

/** Saved state of a controller. */
export const ideSchema = record({ channels: list(channelSchema, { length: 2 }) });
/** Saved state of a controller. */
export type SavedIde = Saved<typeof ideSchema>;
