import type { GuestMemory } from '@nestvm/bus';

/** 2^52: addresses from here on do not exist. */
const LIMIT = 2 ** 52;

/** A part of a queue in guest memory, as little-endian words at byte offsets. */
export class RingArea {
  /** False when it does not lie in RAM. */
  readonly valid: boolean;
  private readonly words: DataView;
  private readonly direct: boolean;
  private readonly bytes = new Uint8Array(8);
  private readonly half = this.bytes.subarray(0, 2);
  private readonly word = this.bytes.subarray(0, 4);
  private readonly scratch = new DataView(this.bytes.buffer);

  constructor(
    private readonly memory: GuestMemory,
    readonly address: number,
    length: number,
  ) {
    const inside = address >= 0 && address + length <= LIMIT;
    const view = inside ? memory.view?.(address, length, false) : undefined;
    this.direct = view !== undefined;
    this.valid = inside && (this.direct || memory.view === undefined);
    this.words = view ? new DataView(view.buffer, view.byteOffset, view.byteLength) : this.scratch;
  }

  u16(offset: number): number {
    if (this.direct) return this.words.getUint16(offset, true);
    this.memory.read(this.address + offset, this.half);
    return this.scratch.getUint16(0, true);
  }

  u32(offset: number): number {
    if (this.direct) return this.words.getUint32(offset, true);
    this.memory.read(this.address + offset, this.word);
    return this.scratch.getUint32(0, true);
  }

  /** A 64-bit address: an integer, or Infinity from 2^52 on. */
  address64(offset: number): number {
    const high = this.u32(offset + 4);
    return high >= 0x10_0000 ? Infinity : high * 2 ** 32 + this.u32(offset);
  }

  setU16(offset: number, value: number): void {
    this.scratch.setUint16(0, value, true);
    this.memory.write(this.address + offset, this.half);
  }

  /** Two 32-bit words, in one store. */
  setPair(offset: number, low: number, high: number): void {
    this.scratch.setUint32(0, low, true);
    this.scratch.setUint32(4, high, true);
    this.memory.write(this.address + offset, this.bytes);
  }

  setU32(offset: number, value: number): void {
    this.scratch.setUint32(0, value, true);
    this.memory.write(this.address + offset, this.word);
  }
}
