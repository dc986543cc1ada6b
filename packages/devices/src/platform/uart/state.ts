import { deadline, flag, list, record, type Saved, unsigned } from '../../saved-state.js';

/** Saved state of a UART. Bytes that the host has queued but the line has not brought yet are the backend's, and are kept too. */
export const uartSchema = record({
  divisor: unsigned(16),
  ier: unsigned(4),
  fcr: unsigned(8),
  lcr: unsigned(8),
  mcr: unsigned(5),
  errors: unsigned(8),
  deltas: unsigned(4),
  modem: unsigned(8),
  scratch: unsigned(8),
  thrPending: flag,
  timeout: flag,
  fifo: list(unsigned(8), { max: 16 }),
  queue: list(unsigned(8), { max: 1 << 20 }),
  timeoutAt: deadline,
  refillAt: deadline,
});
/** Saved state of a UART. */
export type SavedUart = Saved<typeof uartSchema>;
