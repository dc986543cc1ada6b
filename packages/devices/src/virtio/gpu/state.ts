import { count, integer, list, record, unsigned } from '../../saved-state.js';
import { pixelFormats } from './registers.js';

const rectangle = { x: unsigned(32), y: unsigned(32), width: unsigned(32), height: unsigned(32) };

/** Most entries of a backing. */
export const MOST_ENTRIES = 16_384;
/** Longest side of a picture. */
export const MOST_SIDE = 16_384;

/** Saved state of a graphics card. Pixels are not in it: they are read from guest memory again. */
export const gpuSchema = record({
  width: integer(1, MOST_SIDE),
  height: integer(1, MOST_SIDE),
  resources: list(
    record({
      id: unsigned(32),
      format: integer(0, Math.max(...Object.keys(pixelFormats).map(Number))),
      width: integer(1, MOST_SIDE),
      height: integer(1, MOST_SIDE),
      hasBacking: integer(0, 1),
      addresses: list(unsigned(52), { max: MOST_ENTRIES }),
      lengths: list(unsigned(32), { max: MOST_ENTRIES }),
    }),
    { max: 65_536 },
  ),
  scanout: record({ resource: unsigned(32), ...rectangle }),
  cursor: record({ resource: unsigned(32), x: count, y: count }),
});
