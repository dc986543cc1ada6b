import { record, type Saved, unsigned } from '../../saved-state.js';

/** Saved state of the firmware configuration device: its items come from the board's configuration. */
export const fwCfgSchema = record({ key: unsigned(16), offset: unsigned(32), dmaHigh: unsigned(32) });
/** Saved state of the firmware configuration device. */
export type SavedFwCfg = Saved<typeof fwCfgSchema>;
