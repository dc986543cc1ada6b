import { flag, list, record, type Saved, unsigned } from '../../saved-state.js';

const chip = record({
  request: unsigned(8),
  service: unsigned(8),
  mask: unsigned(8),
  inputs: unsigned(8),
  elcr: unsigned(8),
  vectorBase: unsigned(8),
  lowestPriority: unsigned(3),
  initStep: unsigned(2),
  single: flag,
  needsIcw4: flag,
  levelMode: flag,
  readService: flag,
  poll: flag,
  specialMask: flag,
  autoEoi: flag,
  rotateOnAutoEoi: flag,
  specialFullyNested: flag,
});

/** Saved state of one 8259A. */
export type SavedPicChip = Saved<typeof chip>;

/** Saved state of the pair: master, slave. */
export const picSchema = record({ chips: list(chip, { length: 2 }) });
/** Saved state of the pair. */
export type SavedPic = Saved<typeof picSchema>;
