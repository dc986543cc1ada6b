import { added, integer, list, record, type Saved, unsigned } from '../../saved-state.js';

/** Saved state of a PCI function: its configuration bytes, its INTx level, and its MSI-X table as words. */
export const pciFunctionSchema = record({
  config: list(unsigned(8), { length: 256 }),
  intx: integer(0, 1),
  msix: list(unsigned(32), { max: 4 * 2048 }),
  msixPending: list(unsigned(32), { max: 64 }),
});
/** Saved state of a PCI function. */
export type SavedPciFunction = Saved<typeof pciFunctionSchema>;

/** Saved state of hot plug: slots filled, to be emptied, and being read. */
const hotplugSchema = record({ up: unsigned(32), down: unsigned(32), latched: unsigned(32) });
/** Saved state of hot plug. */
export type SavedPciHotplug = Saved<typeof hotplugSchema>;
export const IDLE_HOTPLUG: SavedPciHotplug = { up: 0, down: 0, latched: 0 };

/** Saved state of the host: the configuration address, and hot plug where something waits for the guest. */
export const pciHostSchema = record({ address: unsigned(32), hotplug: added(hotplugSchema, IDLE_HOTPLUG) });
/** Saved state of the host. */
export interface SavedPciHost {
  readonly address: number;
  readonly hotplug?: SavedPciHotplug;
}
