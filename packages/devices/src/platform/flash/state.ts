import { list, record, type Saved, unsigned } from '../../saved-state.js';
import { FLASH_BUFFER_BYTES } from './registers.js';

/** Saved state of a flash; what it holds is saved as memory. `buffer`: what was written to the write buffer so far, from `start` on. */
export const flashSchema = record({
  mode: unsigned(2),
  pending: unsigned(3),
  status: unsigned(8),
  start: unsigned(32),
  left: unsigned(16),
  buffer: list(unsigned(8), { max: FLASH_BUFFER_BYTES }),
});
/** Saved state of a flash. */
export type SavedFlash = Saved<typeof flashSchema>;
