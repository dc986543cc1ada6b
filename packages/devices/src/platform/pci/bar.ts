import type { Region, RegionHandle, Width, Wiring } from '@nestvm/bus';

/** What a base address register decodes. Sizes are powers of two: at least 4 ports or 16 bytes of memory. */
export interface BarOptions {
  /** Number of the register, 0 to 5; a 64-bit one also takes the next. */
  readonly index: number;
  readonly kind: 'io' | 'memory' | 'memory64';
  readonly size: number;
  readonly prefetchable?: boolean;
  /** Shows memory at an address in place of a region, or takes it away (-1); false when it cannot be there. Without it accesses go to `read` and `write`. */
  readonly map?: (base: number) => boolean;
  read(offset: number, width: Width): number;
  write(offset: number, width: Width, value: number): void;
}

/** One base address register and the region it puts on the bus while decoding is enabled. */
export class PciBar {
  #handle: RegionHandle | undefined;
  #at = -1;

  constructor(
    readonly name: string,
    readonly options: BarOptions,
  ) {}

  /** Type bits that read back in the register's low end. */
  get typeBits(): number {
    const { kind, prefetchable } = this.options;
    if (kind === 'io') return 1;
    return (kind === 'memory64' ? 4 : 0) | (prefetchable ? 8 : 0);
  }

  /**
   * Puts the region at `base`, or takes it off the bus for -1 and for bases that cannot be: 0, beyond the space, all ones while it is being sized.
   * When another region is in the way it stays off; returns false then, so that a later change may try again.
   */
  place(wiring: Wiring, base: number): boolean {
    const { kind, size } = this.options;
    const limit = kind === 'io' ? 0x1_0000 : kind === 'memory' ? 2 ** 32 - size : 2 ** 52;
    const wanted = base > 0 && base + size <= limit ? base : -1;
    if (wanted === this.#at) return true;
    const { map } = this.options;
    if (map) {
      const there = map(wanted);
      this.#at = there ? wanted : -1;
      return there;
    }
    try {
      if (wanted < 0) this.#remove();
      else if (this.#handle) this.#handle.move(wanted);
      else this.#handle = kind === 'io' ? wiring.pio(this.#region(wanted)) : wiring.mmio(this.#region(wanted));
    } catch {
      this.#remove();
      return false;
    }
    this.#at = wanted;
    return true;
  }

  #remove(): void {
    this.#handle?.remove();
    this.#handle = undefined;
    this.#at = -1;
  }

  #region(base: number): Region {
    const { name, options } = this;
    return {
      name,
      base,
      size: options.size,
      read: (offset, width) => options.read(offset, width),
      write: (offset, width, value) => options.write(offset, width, value),
    };
  }
}
