import { MOST_UNITS } from './registers.js';

/** Which unit a request is for. */
export interface UnitAddress {
  readonly target: number;
  readonly unit: number;
}

/** Reads the eight bytes of a LUN: 1, the target, and the unit in the peripheral or flat format ("VIRTIO", SCSI Host Device: Device Operation). */
export function readLun(bytes: Uint8Array, offset: number): UnitAddress | undefined {
  if (bytes[offset] !== 1) return undefined;
  const high = bytes[offset + 2]!;
  const unit = ((high & 0x3f) << 8) | bytes[offset + 3]!;
  const rest = bytes[offset + 4]! | bytes[offset + 5]! | bytes[offset + 6]! | bytes[offset + 7]!;
  if (high >= 0x80 || rest !== 0 || unit >= MOST_UNITS) return undefined;
  return { target: bytes[offset + 1]!, unit };
}

/** The eight bytes of a LUN. */
export const lunBytes = ({ target, unit }: UnitAddress): number[] => [1, target, 0x40 | (unit >> 8), unit & 255, 0, 0, 0, 0];

/** Parameter data of REPORT LUNS. */
export function reportLuns(units: readonly number[]): Uint8Array {
  const bytes = new Uint8Array(8 + 8 * units.length);
  new DataView(bytes.buffer).setUint32(0, 8 * units.length);
  // The peripheral addressing format, in which all units up to 255 can be named.
  units.forEach((unit, i) => {
    bytes[9 + 8 * i] = unit;
  });
  return bytes;
}
