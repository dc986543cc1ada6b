import type { Device, Line, Width, Wiring } from '@nestvm/bus';
import { list, record, type SavableDevice, type Saved, unsigned } from '../../saved-state.js';
import { byteRegion } from '../byte-region.js';

const IOMEM_BYTES = 0x1_0000;
const IRQ_LINES = 24;
const schema = record({ ioport: unsigned(32), lines: unsigned(IRQ_LINES), memory: list(unsigned(32), { max: IOMEM_BYTES / 4 }) });
/** Saved state of the test device: its memory as words, without the zeros at its end. */
export type SavedTestDevice = Saved<typeof schema>;

/**
 * QEMU's `pc-testdev`, which kvm-unit-tests use: a scratch port register at 0xe0, a flush port at 0xe4, interrupt lines at 0x2000-0x2017
 * (a write sets GSI = offset), and 64 KiB of scratch memory at 0xff000000.
 */
export class TestDevice implements Device, SavableDevice<SavedTestDevice> {
  readonly name = 'pc-testdev';
  readonly #memory = new Uint8Array(IOMEM_BYTES);
  readonly #lines: Line[] = [];
  #ioport = 0;
  #levels = 0;
  readonly #flush: (address: number) => void;

  /** `flush` is told a guest-physical address whose page the guest wants flushed from translation caches (default: nothing to do). */
  constructor(options: { readonly flush?: (address: number) => void } = {}) {
    this.#flush = options.flush ?? (() => {});
  }

  attach(wiring: Wiring): void {
    wiring.pio({
      name: `${this.name}-port`,
      base: 0xe0,
      size: 4,
      read: (offset, width) => this.#read(offset, width),
      write: (o, w, v) => this.#write(o, w, v),
    });
    wiring.pio({ name: `${this.name}-flush`, base: 0xe4, size: 4, read: () => 0, write: (_offset, _width, value) => this.#flush(value) });
    for (let gsi = 0; gsi < IRQ_LINES; gsi++) this.#lines.push(wiring.line(`gsi:${gsi}`));
    const setLine = (gsi: number, value: number) => this.#setLevels(value ? this.#levels | (1 << gsi) : this.#levels & ~(1 << gsi));
    wiring.pio({ name: `${this.name}-irq`, base: 0x2000, size: IRQ_LINES, read: () => 0, write: (offset, _width, value) => setLine(offset, value) });
    const memory = this.#memory;
    wiring.mmio(
      byteRegion(
        `${this.name}-memory`,
        0xff00_0000,
        IOMEM_BYTES,
        (offset) => memory[offset],
        (offset, value) => void (memory[offset] = value),
      ),
    );
  }

  reset(): void {
    this.#ioport = 0;
    this.#setLevels(0);
  }

  save(): SavedTestDevice {
    const words = new Uint32Array(this.#memory.buffer);
    return { ioport: this.#ioport, lines: this.#levels, memory: [...words.subarray(0, words.findLastIndex((word) => word !== 0) + 1)] };
  }

  load(saved: unknown): void {
    const state = schema.check(saved, this.name);
    this.#ioport = state.ioport;
    this.#memory.fill(0);
    new Uint32Array(this.#memory.buffer).set(state.memory);
    this.#setLevels(state.lines);
  }

  #setLevels(levels: number): void {
    this.#levels = levels;
    this.#lines.forEach((line, gsi) => line.set(((levels >> gsi) & 1) as 0 | 1));
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
