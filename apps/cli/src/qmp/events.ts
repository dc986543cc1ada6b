import type { SessionEvent } from '../monitor/target.js';

/** An event that is missing here does not compile. */
const EVENTS: Readonly<Record<SessionEvent['event'], true>> = {
  STOP: true,
  RESUME: true,
  RESET: true,
  SHUTDOWN: true,
  POWERDOWN: true,
  MIGRATION: true,
  MIGRATION_PASS: true,
  BALLOON_CHANGE: true,
  BLOCK_IO_ERROR: true,
  DEVICE_TRAY_MOVED: true,
  DEVICE_DELETED: true,
};

/** Every event that clients may hear. */
export const QMP_EVENTS = Object.keys(EVENTS) as readonly SessionEvent['event'][];
