import type { Claim } from './claims.js';
import { allOnes, assertRange, overlapError, removedError, truncate } from './claims.js';
import type { Region, RegionHandle, Width } from './contracts.js';

const PORTS = 0x1_0000;
const SPACE = 'port I/O';

/**
 * The I/O ports 0-0xffff: who claims which, and the way to them. Reads that nobody claims are all ones, such writes are lost.
 * An access that is misaligned or leaves its region is split in halves, low half first (PC convention).
 */
export class PortSpace {
  /** Index into `claims` plus one, by port; 0: nobody. */
  private readonly owner = new Uint16Array(PORTS);
  private readonly claims: (Claim | undefined)[] = [];
  /** For logs: told of each byte that is read from (without a value) or written to a port that nobody claims. */
  onUnclaimed: ((port: number, value?: number) => void) | null = null;

  /** Gives the ports `base` … `base + size - 1` to `region`; throws `BusError` (`overlap`, `bad-region`). */
  claim(region: Region): RegionHandle {
    this.assertFree(region, region.base, 0);
    const free = this.claims.indexOf(undefined);
    const id = (free < 0 ? this.claims.length : free) + 1;
    const claim: Claim = { region, base: region.base, end: region.base + region.size };
    this.claims[id - 1] = claim;
    this.owner.fill(id, claim.base, claim.end);
    return this.handle(claim, id);
  }

  /** Reads 1, 2 or 4 bytes at a port; unsigned. */
  read(port: number, width: Width): number {
    const claim = this.claims[this.owner[port & 0xffff]! - 1];
    if (claim === undefined) return width === 1 ? this.unclaimed(port) : this.readHalves(port, width);
    if ((port & (width - 1)) !== 0 || port + width > claim.end) return this.readHalves(port, width);
    return truncate(claim.region.read(port - claim.base, width), width);
  }

  /** Writes 1, 2 or 4 bytes to a port. */
  write(port: number, width: Width, value: number): void {
    const claim = this.claims[this.owner[port & 0xffff]! - 1];
    if (claim !== undefined && (port & (width - 1)) === 0 && port + width <= claim.end) {
      claim.region.write(port - claim.base, width, truncate(value, width));
    } else if (width !== 1) {
      this.writeHalves(port, width, value);
    } else if (this.onUnclaimed !== null) this.onUnclaimed(port, value & 0xff);
  }

  /** Everything that is claimed, by rising port: for `info mtree`. */
  list(): readonly { readonly name: string; readonly base: number; readonly size: number }[] {
    return this.claims
      .filter((claim): claim is Claim => claim !== undefined)
      .map(({ region, base, end }) => ({ name: region.name, base, size: end - base }))
      .sort((a, b) => a.base - b.base);
  }

  private unclaimed(port: number): number {
    if (this.onUnclaimed !== null) this.onUnclaimed(port);
    return 0xff;
  }

  private readHalves(port: number, width: Width): number {
    if (width === 1) return allOnes(1);
    const half = (width >> 1) as Width;
    const low = this.read(port & 0xffff, half);
    return (low | (this.read((port + half) & 0xffff, half) << (half * 8))) >>> 0;
  }

  private writeHalves(port: number, width: Width, value: number): void {
    const half = (width >> 1) as Width;
    this.write(port & 0xffff, half, value);
    this.write((port + half) & 0xffff, half, value >>> (half * 8));
  }

  private assertFree(region: Region, base: number, self: number): void {
    assertRange(SPACE, region.name, base, region.size, PORTS);
    for (let port = base; port < base + region.size; port++) {
      const id = this.owner[port]!;
      if (id !== 0 && id !== self) throw overlapError(SPACE, region.name, base, region.size, this.claims[id - 1]!);
    }
  }

  private handle(claim: Claim, id: number): RegionHandle {
    let live = true;
    return {
      move: (base) => {
        if (!live) throw removedError(SPACE, claim.region.name);
        this.assertFree(claim.region, base, id);
        this.owner.fill(0, claim.base, claim.end);
        claim.base = base;
        claim.end = base + claim.region.size;
        this.owner.fill(id, claim.base, claim.end);
      },
      remove: () => {
        if (!live) return;
        live = false;
        this.owner.fill(0, claim.base, claim.end);
        this.claims[id - 1] = undefined;
      },
    };
  }
}
