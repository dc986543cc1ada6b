import type { Claim } from './claims.js';
import { allOnes, assertRange, overlapError, removedError, truncate } from './claims.js';
import type { Region, RegionHandle, Width } from './contracts.js';

/** One past the highest guest-physical address that x86 can have. */
const LIMIT = 2 ** 52;
const SPACE = 'MMIO';

/**
 * Memory-mapped device regions in guest-physical space: who claims which, and the way to them. Reads that nobody claims are all ones,
 * such writes are lost. An access that is misaligned or leaves its region is split in halves, low half first.
 */
export class MmioSpace {
  /** Disjoint, by rising base. */
  private readonly claims: Claim[] = [];
  /** The region that was hit last: device accesses come in runs. */
  private last: Claim | undefined;
  /** For logs: told of each byte that is read from (without a value) or written to an address that nobody claims. */
  onUnclaimed: ((address: number, value?: number) => void) | null = null;

  /** Gives the addresses `base` … `base + size - 1` to `region`; throws `BusError` (`overlap`, `bad-region`). */
  claim(region: Region): RegionHandle {
    const claim: Claim = { region, base: region.base, end: region.base + region.size };
    this.insert(claim);
    let live = true;
    return {
      move: (base) => {
        if (!live) throw removedError(SPACE, region.name);
        this.assertFree(region, base, claim);
        this.withdraw(claim);
        claim.base = base;
        claim.end = base + region.size;
        this.insert(claim);
      },
      remove: () => {
        if (live) this.withdraw(claim);
        live = false;
      },
    };
  }

  /** Reads 1, 2 or 4 bytes at a guest-physical address; unsigned. */
  read(address: number, width: Width): number {
    const claim = this.find(address);
    if (claim !== undefined && address % width === 0 && address + width <= claim.end) {
      return truncate(claim.region.read(address - claim.base, width), width);
    }
    if (width === 1) {
      if (this.onUnclaimed !== null) this.onUnclaimed(address);
      return allOnes(1);
    }
    const half = (width >> 1) as Width;
    const low = this.read(address, half);
    return (low | (this.read(address + half, half) << (half * 8))) >>> 0;
  }

  /** Writes 1, 2 or 4 bytes to a guest-physical address. */
  write(address: number, width: Width, value: number): void {
    const claim = this.find(address);
    if (claim !== undefined && address % width === 0 && address + width <= claim.end) {
      claim.region.write(address - claim.base, width, truncate(value, width));
    } else if (width !== 1) {
      const half = (width >> 1) as Width;
      this.write(address, half, value);
      this.write(address + half, half, value >>> (half * 8));
    } else if (this.onUnclaimed !== null) this.onUnclaimed(address, value & 0xff);
  }

  /** Everything that is claimed, by rising address: for `info mtree`. */
  list(): readonly { readonly name: string; readonly base: number; readonly size: number }[] {
    return this.claims.map(({ region, base, end }) => ({ name: region.name, base, size: end - base }));
  }

  private find(address: number): Claim | undefined {
    const { last } = this;
    if (last !== undefined && address >= last.base && address < last.end) return last;
    const claim = this.claims[this.slotAfter(address) - 1];
    if (claim === undefined || address >= claim.end) return undefined;
    this.last = claim;
    return claim;
  }

  /** Index of the first claim whose base is above `address`. */
  private slotAfter(address: number): number {
    let low = 0;
    let high = this.claims.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.claims[middle]!.base <= address) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  private assertFree(region: Region, base: number, self?: Claim): void {
    assertRange(SPACE, region.name, base, region.size, LIMIT);
    const other = this.claims.find((claim) => claim !== self && claim.base < base + region.size && base < claim.end);
    if (other !== undefined) throw overlapError(SPACE, region.name, base, region.size, other);
  }

  private insert(claim: Claim): void {
    this.assertFree(claim.region, claim.base);
    this.claims.splice(this.slotAfter(claim.base), 0, claim);
  }

  private withdraw(claim: Claim): void {
    this.claims.splice(this.claims.indexOf(claim), 1);
    this.last = undefined;
  }
}
