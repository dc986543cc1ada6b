import type { Region, Width } from './contracts.js';
import { BusError } from './errors.js';

/** A region as the router holds it: its base may move, its owner's `Region` stays as it was given. */
export interface Claim {
  readonly region: Region;
  base: number;
  /** First address after the region. */
  end: number;
}

/** All ones of an access width: what an address that nobody claims reads as. */
export const allOnes = (width: Width): number => (width === 4 ? 0xffff_ffff : width === 2 ? 0xffff : 0xff);

/** Cuts a value down to its access width, unsigned. */
export const truncate = (value: number, width: Width): number => (width === 4 ? value >>> 0 : value & allOnes(width));

const hex = (value: number): string => `0x${value.toString(16)}`;

const describeClaim = (name: string, base: number, size: number): string => `'${name}' at ${hex(base)}-${hex(base + size - 1)}`;

/**
 * Throws `BusError` (`bad-region`) unless the range is made of whole addresses inside a space of `limit` addresses.
 */
export function assertRange(space: string, name: string, base: number, size: number, limit: number): void {
  const whole = Number.isSafeInteger(base) && Number.isSafeInteger(size);
  if (whole && base >= 0 && size > 0 && base + size <= limit) return;
  throw new BusError(
    'bad-region',
    `${space}: region '${name}' (base ${base}, size ${size}) is outside the space of ${hex(limit)} addresses; claim a range inside it`,
  );
}

/** The error for two regions that share an address. */
export function overlapError(space: string, name: string, base: number, size: number, other: Claim): BusError {
  const there = describeClaim(other.region.name, other.base, other.end - other.base);
  return new BusError('overlap', `${space}: region ${describeClaim(name, base, size)} overlaps ${there}; remove or move one of them first`);
}

/** The error for a handle that is used after `remove`. */
export const removedError = (space: string, name: string): BusError =>
  new BusError('removed', `${space}: region '${name}' was removed; claim it again instead of moving it`);
