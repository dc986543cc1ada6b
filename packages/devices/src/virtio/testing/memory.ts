import type { GuestMemory } from '@nestvm/bus';

/** Guest RAM for a driver without a machine: bytes from an address on, holes elsewhere, and a simple allocator. */
export class DriverMemory implements GuestMemory {
  readonly bytes: Uint8Array;
  readonly words: DataView;
  private next: number;

  constructor(
    size: number,
    /** Address of the first byte. */
    readonly base = 0x1000,
  ) {
    this.bytes = new Uint8Array(size);
    this.words = new DataView(this.bytes.buffer);
    this.next = base;
  }

  read(address: number, target: Uint8Array): void {
    for (let i = 0; i < target.length; i++) target[i] = this.bytes[address + i - this.base] ?? 0xff;
  }

  write(address: number, source: Uint8Array): void {
    for (let i = 0; i < source.length; i++) {
      const at = address + i - this.base;
      if (at >= 0 && at < this.bytes.length) this.bytes[at] = source[i]!;
    }
  }

  view(address: number, length: number): Uint8Array | undefined {
    const at = address - this.base;
    return at < 0 || at + length > this.bytes.length ? undefined : this.bytes.subarray(at, at + length);
  }

  /** Address of `size` fresh zero bytes. */
  allocate(size: number, alignment = 16): number {
    const address = Math.ceil(this.next / alignment) * alignment;
    this.next = address + size;
    if (this.next > this.base + this.bytes.length) throw new RangeError(`driver memory: ${size} bytes more do not fit into ${this.bytes.length}`);
    this.bytes.fill(0, address - this.base, this.next - this.base);
    return address;
  }

  /** Forgets what was allocated. */
  releaseAll(): void {
    this.next = this.base;
  }

  u16(address: number): number {
    return this.words.getUint16(address - this.base, true);
  }

  u32(address: number): number {
    return this.words.getUint32(address - this.base, true);
  }

  setU16(address: number, value: number): void {
    this.words.setUint16(address - this.base, value, true);
  }

  setU32(address: number, value: number): void {
    this.words.setUint32(address - this.base, value, true);
  }

  setU64(address: number, value: number): void {
    this.setU32(address, value % 2 ** 32);
    this.setU32(address + 4, Math.floor(value / 2 ** 32));
  }
}
