import { integer, list, record, type Saved, unsigned } from '../../saved-state.js';

/** Saved state of a PCI function: its configuration bytes, its INTx level, and its MSI-X table as words. */
export const pciFunctionSchema = record({
  config: list(unsigned(8), { length: 256 }),
  intx: integer(0, 1),
  msix: list(unsigned(32), { max: 4 * 2048 }),
  msixPending: list(unsigned(32), { max: 64 }),
});
/** Saved state of a PCI function. */
export type SavedPciFunction = Saved<typeof pciFunctionSchema>;

/** Saved state of the host: the configuration address. */
export const pciHostSchema = record({ address: unsigned(32) });
/** Saved state of the host. */
export type SavedPciHost = Saved<typeof pciHostSchema>;
