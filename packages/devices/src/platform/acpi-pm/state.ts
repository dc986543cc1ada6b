import { count, list, record, type Saved, unsigned } from '../../saved-state.js';

/** Saved state of the ACPI power-management block. */
export const acpiPmSchema = record({
  base: unsigned(16),
  status: unsigned(16),
  enable: unsigned(16),
  control: unsigned(16),
  smiEnable: unsigned(32),
  apm: list(unsigned(8), { length: 2 }),
  gpe: list(unsigned(8), { length: 16 }),
  overflowTick: count,
});
/** Saved state of the ACPI power-management block. */
export type SavedAcpiPm = Saved<typeof acpiPmSchema>;
