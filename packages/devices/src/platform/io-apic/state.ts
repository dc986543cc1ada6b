import { list, record, type Saved, unsigned } from '../../saved-state.js';

/** Saved state of an I/O APIC. */
export const ioApicSchema = record({
  id: unsigned(4),
  select: unsigned(8),
  levels: unsigned(24),
  requests: unsigned(24),
  low: list(unsigned(17), { length: 24 }),
  high: list(unsigned(32), { length: 24 }),
});
/** Saved state of an I/O APIC. */
export type SavedIoApic = Saved<typeof ioApicSchema>;
