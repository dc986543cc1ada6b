import { flag, list, record, type Saved, unsigned } from '../saved-state.js';
import { driveSchema } from './ide-state.js';

const portSchema = record({ registers: list(unsigned(32), { length: 32 }), soft: flag, halted: flag, drive: driveSchema });
/** Saved state of a port. */
export type SavedPort = Saved<typeof portSchema>;

/** Saved state of a controller. */
export const ahciSchema = record({ control: unsigned(32), status: unsigned(32), ports: list(portSchema, { max: 32 }) });
/** Saved state of a controller. */
export type SavedAhci = Saved<typeof ahciSchema>;
