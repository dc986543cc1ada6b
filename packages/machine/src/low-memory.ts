import type { MemoryController } from '@nestvm/devices/platform';
import { PAGE_BYTES, type PhysicalMemory } from '@nestvm/memory';

/** SMRAM, and where VGA memory is seen when it is not shown. */
export const SMRAM = { base: 0xa0000, size: 0x20000 } as const;
/** What may be shadowed. */
const SHADOW_BASE = 0xc0000;
const SEGMENT = 0x4000;
const SEGMENTS = 16;

/** Where things are in the arena. */
export interface LowMemoryOptions {
  readonly memory: PhysicalMemory;
  /** Arena offset of guest-physical address 0. */
  readonly ram: number;
  /** The firmware's last bytes, which end at 1 MiB: arena offset and size; absent without firmware. */
  readonly rom?: { readonly offset: number; readonly size: number };
}

/** Memory between 640 KiB and 1 MiB: shadow RAM over the firmware's ROM, and SMRAM under the VGA's memory. */
export class LowMemory implements MemoryController {
  readonly #options: LowMemoryOptions;
  /** By segment: bit 0 reads RAM, bit 1 writes RAM. The machine has mapped all of it as RAM. */
  readonly #modes = new Uint8Array(SEGMENTS).fill(3);
  #enabled = false;
  #open = false;
  #smm = false;
  #shown = false;

  constructor(options: LowMemoryOptions) {
    this.#options = options;
  }

  shadow(base: number, size: number, read: boolean, write: boolean): void {
    const mode = (read ? 1 : 0) | (write ? 2 : 0);
    const first = (base - SHADOW_BASE) / SEGMENT;
    const end = first + size / SEGMENT;
    if (this.#modes.subarray(first, end).every((it) => it === mode)) return;
    this.#modes.fill(mode, first, end);
    this.#map(base, size, mode);
  }

  smram(enabled: boolean, open: boolean): void {
    this.#enabled = enabled;
    this.#open = open;
    this.#show();
  }

  /** Whether the CPU that runs now is in system-management mode. */
  systemManagement(active: boolean): void {
    if (active === this.#smm) return;
    this.#smm = active;
    this.#show();
  }

  #show(): void {
    const { memory, ram } = this.#options;
    const shown = this.#enabled && (this.#open || this.#smm);
    if (shown === this.#shown) return;
    this.#shown = shown;
    if (shown) memory.mapRam(SMRAM.base, SMRAM.size, ram + SMRAM.base);
    else memory.unmap(SMRAM.base, SMRAM.size);
  }

  #map(base: number, size: number, mode: number): void {
    const { memory, ram } = this.#options;
    if (mode === 3) return memory.mapRam(base, size, ram + base);
    if (mode === 1) return memory.mapRom(base, size, ram + base);
    const rom = this.#romAt(base, size);
    if (rom === undefined) return memory.unmap(base, size);
    if (mode === 0) return memory.mapRom(base, size, rom);
    // Writes go to the RAM below, which nobody sees yet.
    memory.mapRom(base, size, rom, (address, width, value) => {
      const { arena } = memory;
      for (let i = 0; i < width; i++) {
        memory.dirtyLog.mark(((ram + address + i) / PAGE_BYTES) >>> 0);
        arena.u8[ram + address + i] = value >>> (8 * i);
      }
    });
  }

  #romAt(base: number, size: number): number | undefined {
    const { rom } = this.#options;
    const start = rom === undefined ? Infinity : 0x100000 - rom.size;
    return base >= start && base + size <= 0x100000 ? rom!.offset + (base - start) : undefined;
  }
}
