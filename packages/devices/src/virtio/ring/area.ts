import type { GuestMemory } from '@nestvm/bus';

/** 2^52: addresses from here on do not exist. */
const LIMIT = 2 ** 52;

/** For what is written, or read from a memory without views; one for all, since each request with an indirect table has an area of its own. */
const pair = new Uint8Array(8);
const half = pair.subarray(0, 2);
const word = pair.subarray(0, 4);
const scratch = new DataView(pair.buffer);

/** A part of a queue in guest memory, as little-endian words at byte offsets. */
export class RingArea {
  /** False when it does not lie in RAM. */
  readonly valid: boolean;
  private readonly words: DataView;
  private readonly direct: boolean;

  constructor(
    private readonly memory: GuestMemory,
    readonly address: number,
    length: number,
  ) {
    const inside = address >= 0 && address + length <= LIMIT;
    const view = inside ? memory.view?.(address, length, false) : undefined;
    this.direct = view !== undefined;
    this.valid = inside && (this.direct || memory.view === undefined);
    this.words = view ? new DataView(view.buffer, view.byteOffset, view.byteLength) : scratch;
  }

  u16(offset: number): number {
    if (this.direct) return this.words.getUint16(offset, true);
    this.memory.read(this.address + offset, half);
    return scratch.getUint16(0, true);
  }

  u32(offset: number): number {
    if (this.direct) return this.words.getUint32(offset, true);
    this.memory.read(this.address + offset, word);
    return scratch.getUint32(0, true);
  }

  /** A 64-bit address: an integer, or Infinity from 2^52 on. */
  address64(offset: number): number {
    const high = this.u32(offset + 4);
    return high >= 0x10_0000 ? Infinity : high * 2 ** 32 + this.u32(offset);
  }

  setU16(offset: number, value: number): void {
    scratch.setUint16(0, value, true);
    this.memory.write(this.address + offset, half);
  }

  /** Two 32-bit words, in one store. */
  setPair(offset: number, low: number, high: number): void {
    scratch.setUint32(0, low, true);
    scratch.setUint32(4, high, true);
    this.memory.write(this.address + offset, pair);
  }

  setU32(offset: number, value: number): void {
    scratch.setUint32(0, value, true);
    this.memory.write(this.address + offset, word);
  }
}
