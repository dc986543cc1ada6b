import type { Clock, GuestMemory, Line, Msi, Region, RegionHandle, Wiring } from '@nestvm/bus';
import type { InterruptRouting } from './interrupt-routing.js';

/** Anything that takes regions: `PortSpace`, `MmioSpace`. */
export interface RegionSpace {
  claim(region: Region): RegionHandle;
}

/** What a board is wired from. */
export interface PlatformWiringOptions {
  readonly ports: RegionSpace;
  readonly mmio: RegionSpace;
  readonly clock: Clock;
  readonly dma: GuestMemory;
  readonly routing: InterruptRouting;
  /** Takes message-signalled interrupts (`ApicBus`); default: they vanish. */
  readonly msi?: Msi;
  /** The lines that are no interrupts, by name: `a20`, `reset`, `nmi`, `smi`, `poweroff`, `sleep` … A name that is missing here leads nowhere. */
  readonly lines?: Readonly<Record<string, (level: 0 | 1) => void>>;
}

/** The `Wiring` of a PC board: regions to the two spaces, `isa:N` and `gsi:N` to the interrupt controllers, other lines to the board's own callbacks. */
export class PlatformWiring implements Wiring {
  readonly clock: Clock;
  readonly dma: GuestMemory;
  readonly #options: PlatformWiringOptions;

  constructor(options: PlatformWiringOptions) {
    this.#options = options;
    this.clock = options.clock;
    this.dma = options.dma;
  }

  pio(region: Region): RegionHandle {
    return this.#options.ports.claim(region);
  }

  mmio(region: Region): RegionHandle {
    return this.#options.mmio.claim(region);
  }

  line(name: string): Line {
    if (name.startsWith('isa:') || name.startsWith('gsi:')) return this.#options.routing.line(name);
    return { set: (level) => this.#options.lines?.[name]?.(level) };
  }

  msi(): Msi {
    return this.#options.msi ?? { send: () => {} };
  }
}
