import type { Device, Width, Wiring } from '@nestvm/bus';
import { DeviceError } from '../../errors.js';
import { byteRegion } from '../../platform/byte-region.js';
import { PciFunction } from '../../platform/pci/function.js';
import type { SavableDevice } from '../../saved-state.js';
import type { Display, Picture } from '../display.js';
import { geometryOf } from './geometry.js';
import { VgaPorts } from './ports.js';
import { DISPI_PORTS, VGA_PORTS, VgaMmio } from './registers.js';
import { renderVga } from './render.js';
import { type SavedVga, vgaSchema } from './state.js';
import { Vbe } from './vbe.js';
import { VgaWindow } from './window.js';

const WINDOW = { base: 0xa0000, size: 0x20000 } as const;
const LARGEST = 256 * 2 ** 20;

/** Characters on a screen. */
export interface TextScreen {
  readonly columns: number;
  readonly rows: number;
  /** Character and attribute of each cell, by rows: code page 437, and VGA's colours (background in the high half). */
  readonly cells: Uint8Array;
  /** Cell of the cursor, or -1. */
  readonly cursor: number;
}

/** How a card is made. */
export interface VgaOptions {
  /** Unit name (default `vga`). */
  readonly name?: string;
  /** Video memory: a power of two of 256 KiB at least. */
  readonly memory: Uint8Array;
  /** Shows the memory at a guest-physical address, for the framebuffer; -1 takes it away. False: it cannot be there. Default: accesses come to the card one by one. */
  readonly mapMemory?: (base: number) => boolean;
  /** Told of the offset of each byte that the card writes to its memory, before. */
  readonly touch?: (offset: number) => void;
  /** The card's BIOS for its PCI function. */
  readonly rom?: Uint8Array;
}

/**
 * A VGA with the Bochs VBE extension: as an ISA card, and by its PCI function with a framebuffer, memory-mapped registers and a BIOS
 * ("QEMU Standard VGA", "Bochs VBE Display API").
 */
export class Vga implements Device, Display, SavableDevice<SavedVga> {
  readonly name: string;
  readonly #memory: Uint8Array;
  readonly #vbe: Vbe;
  readonly #ports: VgaPorts;
  readonly #window: VgaWindow;
  readonly #options: VgaOptions;
  /** Low byte of a word that the data port takes. */
  #dispiLow = 0;
  #pci: PciFunction | undefined;

  constructor(options: VgaOptions) {
    const { memory, touch = () => {} } = options;
    if (memory.length < 0x4_0000 || memory.length > LARGEST || Math.log2(memory.length) % 1 !== 0)
      throw new DeviceError('bad-option', `vga: ${memory.length} bytes of video memory; give a power of two from 256 KiB to 256 MiB`);
    this.#options = options;
    this.name = options.name ?? 'vga';
    this.#memory = memory;
    this.#vbe = new Vbe(memory.length, (bytes) => this.#clear(bytes));
    this.#ports = new VgaPorts(this.#vbe);
    const { sequencer, graphics } = this.#ports;
    this.#window = new VgaWindow({ memory, sequencer, graphics, vbe: this.#vbe, touch });
  }

  /** The card's PCI function: plug it in or leave it. */
  get pci(): PciFunction {
    this.#pci ??= this.#createFunction();
    return this.#pci;
  }

  attach(wiring: Wiring): void {
    this.#ports.clock = wiring.clock;
    for (const base of [VGA_PORTS.MONOCHROME, VGA_PORTS.BASE, VGA_PORTS.COLOUR]) {
      const read = (offset: number): number => this.#ports.read(base + offset);
      const write = (offset: number, value: number): void => this.#ports.write(base + offset, value);
      wiring.pio(byteRegion(`${this.name} ports`, base, VGA_PORTS.GROUP, read, write));
    }
    // The data port is a word at an odd address, which the bus splits; a word at the first port is the index.
    wiring.pio({
      name: `${this.name} vbe`,
      base: DISPI_PORTS.INDEX,
      size: DISPI_PORTS.SIZE,
      read: (offset, width) => (offset === 0 && width === 2 ? this.#vbe.index : (this.#vbe.read(this.#vbe.index) >> (offset === 2 ? 8 : 0)) & 0xff),
      write: (offset, width, value) => this.#writeDispi(offset, width, value),
    });
    const { base, size } = WINDOW;
    const read = (offset: number): number => this.#window.read(offset);
    wiring.mmio(byteRegion(`${this.name} window`, base, size, read, (offset, value) => this.#window.write(offset, value)));
  }

  reset(): void {
    this.#ports.reset();
    this.#vbe.reset();
    this.#window.latch = 0;
    this.#options.touch?.(0);
    this.#clear(this.#memory.length);
  }

  picture(): Picture | undefined {
    const { sequencer, graphics, crtc, attribute, attributeIndex, dac } = this.#ports;
    return renderVga({ sequencer, graphics, crtc, attribute, attributeIndex, dac, vbe: this.#vbe, memory: this.#memory });
  }

  /** The characters that are shown; undefined in graphics modes and while the screen is off. */
  text(): TextScreen | undefined {
    const geometry = geometryOf(this.#ports);
    if (geometry?.kind !== 'text') return undefined;
    const { columns, rows, start, lineBytes, cursor } = geometry;
    const memory = this.#memory;
    const cells = new Uint8Array(columns * rows * 2);
    for (let row = 0, to = 0; row < rows; row++) {
      for (let column = 0; column < columns; column++) {
        const at = (start + row * lineBytes + column * 4) % memory.length;
        cells[to++] = memory[at]!;
        cells[to++] = memory[at + 1]!;
      }
    }
    const cell = cursor - start / 4;
    return { columns, rows, cells, cursor: cell >= 0 && cell < columns * rows ? cell : -1 };
  }

  save(): SavedVga {
    const { index, registers } = this.#vbe;
    return { ...this.#ports.save(), latch: this.#window.latch >>> 0, vbe: [...registers], vbeIndex: index };
  }

  load(saved: unknown): void {
    const state = vgaSchema.check(saved, this.name);
    this.#ports.load(state);
    this.#window.latch = state.latch | 0;
    this.#vbe.registers.set(state.vbe);
    this.#vbe.index = state.vbeIndex;
    // Where it is off, the registers count for nothing until they are written or it is turned on, and both bring them into bounds.
    if (this.#vbe.enabled) this.#vbe.fit();
  }

  #clear(bytes: number): void {
    const { touch } = this.#options;
    const end = Math.min(bytes, this.#memory.length);
    if (touch) for (let page = 0; page < end; page += 4096) touch(page);
    this.#memory.fill(0, 0, end);
  }

  #writeDispi(offset: number, width: Width, value: number): void {
    if (offset === 0) this.#vbe.index = value & 0xffff;
    else if (offset === 1 && width === 1) this.#dispiLow = value;
    else if (offset === 2) this.#vbe.write(this.#vbe.index, this.#dispiLow | (value << 8));
  }

  #createFunction(): PciFunction {
    const { mapMemory, rom, touch } = this.#options;
    const memory = this.#memory;
    const view = new DataView(memory.buffer, memory.byteOffset, memory.length);
    const pci = new PciFunction({ name: `${this.name} pci`, vendor: 0x1234, device: 0x1111, revision: 2, classCode: 0x03_0000 });
    pci.addBar({
      index: 0,
      kind: 'memory',
      size: memory.length,
      prefetchable: true,
      ...(mapMemory ? { map: mapMemory } : {}),
      read: (offset, width) => (width === 4 ? view.getUint32(offset, true) : width === 2 ? view.getUint16(offset, true) : memory[offset]!),
      write: (offset, width, value) => {
        touch?.(offset);
        if (width === 4) view.setUint32(offset, value, true);
        else if (width === 2) view.setUint16(offset, value, true);
        else memory[offset] = value;
      },
    });
    const bytes = byteRegion(
      `${this.name} registers`,
      0,
      VgaMmio.SIZE,
      (offset) => this.#readMmio(offset),
      (offset, value) => this.#writeMmio(offset, value),
    );
    pci.addBar({
      index: 2,
      kind: 'memory',
      size: VgaMmio.SIZE,
      read: (offset, width) => bytes.read(offset, width),
      write: (offset, width, value) => this.#writeRegisters(bytes, offset, width, value),
    });
    if (rom) pci.addRom(rom);
    return pci;
  }

  /** Registers of the VBE extension are written as a whole. */
  #writeRegisters(bytes: ReturnType<typeof byteRegion>, offset: number, width: Width, value: number): void {
    if (offset >= VgaMmio.DISPI && offset < VgaMmio.EXTRA) {
      for (let i = 0; i < width; i += 2) this.#vbe.write((offset + i - VgaMmio.DISPI) >> 1, (value >>> (8 * i)) & 0xffff);
    } else bytes.write(offset, width, value);
  }

  #readMmio(offset: number): number {
    if (offset >= VgaMmio.PORTS && offset < VgaMmio.PORTS_END) return this.#ports.read(VGA_PORTS.BASE + offset - VgaMmio.PORTS);
    if (offset >= VgaMmio.DISPI && offset < VgaMmio.EXTRA) return (this.#vbe.read((offset - VgaMmio.DISPI) >> 1) >> (8 * (offset & 1))) & 0xff;
    return 0;
  }

  #writeMmio(offset: number, value: number): void {
    if (offset >= VgaMmio.PORTS && offset < VgaMmio.PORTS_END) this.#ports.write(VGA_PORTS.BASE + offset - VgaMmio.PORTS, value);
  }
}
