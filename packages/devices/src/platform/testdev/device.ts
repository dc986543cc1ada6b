import type { Device, Line, Width, Wiring } from '@nestvm/bus';
import { record, type Saved, type SavableDevice, unsigned } from '../../saved-state.js';
import { byteRegion } from '../byte-region.js';

const IOMEM_BYTES = 0x1_0000;
const IRQ_LINES = 24;
const schema = record({ ioport: unsigned(32) });
/** Saved state of the test device. Its 64 KiB of scratch memory are not kept: tests write before they read. */
export type SavedTestDevice = Saved<typeof schema>;

/**
 * QEMU's `pc-testdev`, which kvm-unit-tests use: a scratch port register at 0xe0, a flush port at 0xe4, interrupt lines at 0x2000-0x2017
 * (a write sets GSI = offset), and 64 KiB of scratch memory at 0xff000000.
 */
export class TestDevice implements Device, SavableDevice<SavedTestDevice> {
  readonly name = 'pc-testdev';
  readonly #memory = new Uint8Array(IOMEM_BYTES);
  #ioport = 0;
  readonly #flush: (address: number) => void;

  /** `flush` is told a guest-physical address whose page the guest wants flushed from translation caches (default: nothing to do). */
  constructor(options: { readonly flush?: (address: number) => void } = {}) {
    this.#flush = options.flush ?? (() => {});
  }

  attach(wiring: Wiring): void {
    wiring.pio({ name: `${this.name}-port`, base: 0xe0, size: 4, read: (offset, width) => this.#read(offset, width), write: (o, w, v) => this.#write(o, w, v) });
    wiring.pio({ name: `${this.name}-flush`, base: 0xe4, size: 4, read: () => 0, write: (_offset, _width, value) => this.#flush(value) });
    const lines: Line[] = Array.from({ length: IRQ_LINES }, (_, gsi) => wiring.line(`gsi:${gsi}`));
    const setLine = (offset: number, value: number) => lines[offset].set(value ? 1 : 0);
    wiring.pio({ name: `${this.name}-irq`, base: 0x2000, size: IRQ_LINES, read: () => 0, write: (offset, _width, value) => setLine(offset, value) });
    const memory = this.#memory;
    wiring.mmio(byteRegion(`${this.name}-memory`, 0xff00_0000, IOMEM_BYTES, (offset) => memory[offset], (offset, value) => void (memory[offset] = value)));
  }

  reset(): void {
    this.#ioport = 0;
  }

  save(): SavedTestDevice {
    return { ioport: this.#ioport };
  }

  load(saved: unknown): void {
    this.#ioport = schema.check(saved, this.name).ioport;
  }

  #read(offset: number, width: Width): number {
    const value = this.#ioport >>> (8 * offset);
    return width === 4 ? value >>> 0 : value & (width === 2 ? 0xffff : 0xff);
  }

  #write(offset: number, width: Width, value: number): void {
    const mask = ((width === 4 ? 0xffff_ffff : width === 2 ? 0xffff : 0xff) << (8 * offset)) >>> 0;
    this.#ioport = ((this.#ioport & ~mask) | ((value << (8 * offset)) & mask)) >>> 0;
  }
}
