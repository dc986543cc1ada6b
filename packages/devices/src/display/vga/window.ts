import { Graphics, GraphicsMode, MemoryMode, Sequencer } from './registers.js';
import type { Vbe } from './vbe.js';

/** What the window at 0xa0000 works on. Video memory keeps the four planes side by side: byte `n` of plane `p` is at 4 × n + p. */
export interface WindowParts {
  readonly memory: Uint8Array;
  readonly sequencer: Uint8Array;
  readonly graphics: Uint8Array;
  readonly vbe: Vbe;
  /** Told of every byte that is written, before. */
  readonly touch: (offset: number) => void;
}

/** Where the window is by the memory map field: offset in 0xa0000-0xbffff and size. */
const MAPS = [
  { base: 0, size: 0x20000 },
  { base: 0, size: 0x10000 },
  { base: 0x10000, size: 0x8000 },
  { base: 0x18000, size: 0x8000 },
] as const;

/** Four bits as four bytes, lowest first. */
const spread = (bits: number): number => (bits & 1 ? 0xff : 0) | (bits & 2 ? 0xff00 : 0) | (bits & 4 ? 0xff0000 : 0) | (bits & 8 ? 0xff000000 : 0);
const SPREAD = Int32Array.from({ length: 16 }, (_, bits) => spread(bits));
const repeat = (byte: number): number => Math.imul(byte, 0x01010101);

/** Accesses of the CPU to video memory by the window at 0xa0000: planes with latches and write modes, odd and even, chained, and banks of the VBE extension. */
export class VgaWindow {
  /** The four bytes that were read last, plane 0 lowest. */
  latch = 0;
  readonly #view: DataView;
  readonly #planeBytes: number;

  constructor(private readonly parts: WindowParts) {
    const { memory } = parts;
    this.#view = new DataView(memory.buffer, memory.byteOffset, memory.length);
    this.#planeBytes = memory.length / 4;
  }

  read(at: number): number {
    const { memory, sequencer, graphics, vbe } = this.parts;
    const offset = this.#offset(at);
    if (offset < 0) return 0xff;
    if (vbe.linear) return memory[offset + vbe.bankOffset] ?? 0xff;
    if (sequencer[Sequencer.MEMORY]! & MemoryMode.CHAIN_4) return memory[offset]!;
    const mode = graphics[Graphics.MODE]!;
    if (mode & GraphicsMode.ODD_EVEN) return memory[((offset & ~1) << 1) | (graphics[Graphics.READ_MAP]! & 2) | (offset & 1)]!;
    this.latch = this.#view.getInt32((offset % this.#planeBytes) * 4, true);
    if ((mode & GraphicsMode.READ_COMPARE) === 0) return (this.latch >>> (8 * (graphics[Graphics.READ_MAP]! & 3))) & 0xff;
    let differing = (this.latch ^ SPREAD[graphics[Graphics.COMPARE]! & 15]!) & SPREAD[graphics[Graphics.DONT_CARE]! & 15]!;
    differing |= differing >>> 16;
    return ~(differing | (differing >>> 8)) & 0xff;
  }

  write(at: number, value: number): void {
    const { memory, sequencer, graphics, vbe, touch } = this.parts;
    const offset = this.#offset(at);
    if (offset < 0) return;
    const put = (place: number): void => {
      if (place >= memory.length) return;
      touch(place);
      memory[place] = value;
    };
    if (vbe.linear) return put(offset + vbe.bankOffset);
    const mask = sequencer[Sequencer.MAP_MASK]!;
    if (sequencer[Sequencer.MEMORY]! & MemoryMode.CHAIN_4) {
      if (mask & (1 << (offset & 3))) put(offset);
    } else if (graphics[Graphics.MODE]! & GraphicsMode.ODD_EVEN) {
      const plane = (graphics[Graphics.READ_MAP]! & 2) | (offset & 1);
      if (mask & (1 << plane)) put(((offset & ~1) << 1) | plane);
    } else this.#writePlanes((offset % this.#planeBytes) * 4, value, SPREAD[mask & 15]!);
  }

  /** Offset inside the window, or -1 beside it. */
  #offset(at: number): number {
    const { base, size } = MAPS[(this.parts.graphics[Graphics.MISC]! >> 2) & 3]!;
    const offset = at - base;
    return offset >= 0 && offset < size ? offset : -1;
  }

  #writePlanes(place: number, value: number, planes: number): void {
    const wanted = this.#combine(value);
    this.parts.touch(place);
    const old = this.#view.getInt32(place, true);
    this.#view.setInt32(place, (old & ~planes) | (wanted & planes), true);
  }

  /** The four bytes that a write of `value` makes in the write mode in force ("Video Graphics Array", Graphics Controller, Write Modes). */
  #combine(value: number): number {
    const { graphics } = this.parts;
    const mode = graphics[Graphics.MODE]! & 3;
    if (mode === 1) return this.latch;
    const count = graphics[Graphics.ROTATE]! & 7;
    const rotated = ((value >> count) | (value << (8 - count))) & 0xff;
    const setReset = SPREAD[graphics[Graphics.SET_RESET]! & 15]!;
    let mask = graphics[Graphics.BIT_MASK]!;
    let data: number;
    if (mode === 0) {
      const enabled = SPREAD[graphics[Graphics.ENABLE_SET_RESET]! & 15]!;
      data = (repeat(rotated) & ~enabled) | (setReset & enabled);
    } else if (mode === 2) data = SPREAD[value & 15]!;
    else {
      mask &= rotated;
      data = setReset;
    }
    const operation = (graphics[Graphics.ROTATE]! >> 3) & 3;
    if (operation === 1) data &= this.latch;
    else if (operation === 2) data |= this.latch;
    else if (operation === 3) data ^= this.latch;
    const bits = repeat(mask);
    return (data & bits) | (this.latch & ~bits);
  }
}
