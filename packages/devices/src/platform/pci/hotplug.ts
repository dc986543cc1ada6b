import type { Device, Wiring } from '@nestvm/bus';
import { byteRegion } from '../byte-region.js';
import { IDLE_HOTPLUG, type SavedPciHotplug } from './state.js';

/** Registers of the controller, each a bit for a slot of bus 0 (QEMU's "ACPI PCI hotplug interface"). */
const Register = { UP: 0, DOWN: 4, EJECT: 8, REMOVABLE: 12 } as const;
/** Ports that it takes. */
export const PCI_HOTPLUG_BYTES = 20;
/** Where it is on each chipset, as on QEMU's boards. */
export const PCI_HOTPLUG_PORTS = { i440fx: 0xae00, q35: 0x0cc0 } as const;
/** The event of GPE0 by which ACPI guests come to look. */
export const PCI_HOTPLUG_GPE = 1;

/** What the controller asks of its board. */
export interface PciHotplugOptions {
  readonly base: number;
  /** Something is to be seen here. */
  readonly notify: () => void;
  /** Whether what is in a slot may leave it. */
  readonly isRemovable: (slot: number) => boolean;
  /** The guest has let go of what is in a slot. */
  readonly onEject: (slot: number) => void;
}

/** Tells ACPI guests which slots of bus 0 were filled or are to be emptied, and hears when they let go. The host saves its state. */
export class PciHotplug implements Device {
  readonly name = 'pci-hotplug';
  #up = 0;
  #down = 0;
  /** `up` as it was when its first byte was read, which empties it. */
  #latched = 0;

  constructor(private readonly options: PciHotplugOptions) {}

  attach(wiring: Wiring): void {
    wiring.pio(
      byteRegion(
        this.name,
        this.options.base,
        PCI_HOTPLUG_BYTES,
        (offset) => this.#read(offset),
        (offset, value) => {
          if ((offset & ~3) === Register.EJECT) this.#eject(offset & 3, value);
        },
      ),
    );
  }

  /** What was to leave has left: nobody who knew of it is there any more. */
  reset(): void {
    const leaving = this.#down;
    this.pending = IDLE_HOTPLUG;
    for (let slot = 0; slot < 32; slot++) if ((leaving >>> slot) & 1) this.options.onEject(slot);
  }

  /** A slot was filled. */
  filled(slot: number): void {
    this.#up = (this.#up | (1 << slot)) >>> 0;
    this.options.notify();
  }

  /** Asks the guest to let go of what is in a slot. */
  requestEject(slot: number): void {
    this.#down = (this.#down | (1 << slot)) >>> 0;
    this.options.notify();
  }

  get pending(): SavedPciHotplug {
    return { up: this.#up, down: this.#down, latched: this.#latched };
  }

  set pending({ up, down, latched }: SavedPciHotplug) {
    this.#up = up;
    this.#down = down;
    this.#latched = latched;
  }

  #read(offset: number): number {
    return (this.#word(offset) >>> (8 * (offset & 3))) & 0xff;
  }

  #word(offset: number): number {
    switch (offset & ~3) {
      case Register.UP:
        if (offset === Register.UP) {
          this.#latched = this.#up;
          this.#up = 0;
        }
        return this.#latched;
      case Register.DOWN:
        return this.#down;
      case Register.REMOVABLE:
        return Array.from({ length: 32 }, (_, slot) => slot).reduce((mask, slot) => (this.options.isRemovable(slot) ? mask | (1 << slot) : mask), 0);
      default:
        return 0;
    }
  }

  #eject(place: number, bits: number): void {
    for (let bit = 0; bit < 8; bit++) {
      const slot = 8 * place + bit;
      if (!((bits >> bit) & 1) || !this.options.isRemovable(slot)) continue;
      this.#down = (this.#down & ~(1 << slot)) >>> 0;
      this.options.onEject(slot);
    }
  }
}
