import type { GuestMemory } from '@nestvm/bus';

/** Is given bytes of a buffer, and how many came before them. */
export type Visitor = (bytes: Uint8Array, done: number) => void;

/** Longest copy. */
const COPY_BYTES = 0x10_0000;

/** The buffers of one request: first what the device reads, then what it writes. Offsets count from the start of either part. */
export class Chain {
  readonly addresses: number[] = [];
  readonly lengths: number[] = [];
  /** Number of device-readable buffers: they come first. */
  readables = 0;
  readableBytes = 0;
  writableBytes = 0;
  /** Set by `Virtqueue.push`. */
  written = -1;

  constructor(
    private readonly memory: GuestMemory,
    /** Descriptor or buffer id that the driver knows it by. */
    public id: number,
    /** Slots of the ring that it takes. */
    public slots: number,
  ) {}

  /** Bytes of both parts. */
  get bytes(): number {
    return this.readableBytes + this.writableBytes;
  }

  /** Whether what is shown and handed out is the memory itself, good for as long as the request lasts, and no copy. */
  get viewable(): boolean {
    return this.memory.view !== undefined;
  }

  /** Adds a buffer; false when a readable one comes after a writable one. */
  add(address: number, length: number, writable: boolean): boolean {
    if (!writable && this.addresses.length > this.readables) return false;
    this.addresses.push(address);
    this.lengths.push(length);
    if (writable) this.writableBytes += length;
    else {
      this.readables++;
      this.readableBytes += length;
    }
    return true;
  }

  /** Copies readable bytes from `offset` into `target`; returns how many there were. */
  read(offset: number, target: Uint8Array): number {
    return this.visitReadable(offset, target.length, (bytes, done) => target.set(bytes, done));
  }

  /** Copies `source` to the writable part at `offset`; returns how many bytes fitted. */
  write(offset: number, source: Uint8Array): number {
    return this.visitWritable(offset, source.length, (bytes, done) => bytes.set(source.subarray(done, done + bytes.length)));
  }

  /** Shows readable bytes in pieces, without a copy where the memory allows; returns how many there were. */
  visitReadable(offset: number, length: number, visit: Visitor): number {
    return this.visit(0, this.readables, offset, length, false, visit);
  }

  /** Hands out writable bytes in pieces, to be filled at once; returns how many there were. */
  visitWritable(offset: number, length: number, visit: Visitor): number {
    return this.visit(this.readables, this.addresses.length, offset, length, true, visit);
  }

  /** Makes the first bytes of the writable part zeros. */
  clearWritable(length: number): void {
    const { memory } = this;
    let left = Math.min(length, this.writableBytes);
    if (!memory.clear) return void this.visitWritable(0, left, (bytes) => bytes.fill(0));
    for (let i = this.readables; left > 0; i++) {
      const size = Math.min(left, this.lengths[i]!);
      memory.clear(this.addresses[i]!, size);
      left -= size;
    }
  }

  private visit(first: number, end: number, offset: number, length: number, writing: boolean, visit: Visitor): number {
    let skip = offset;
    let done = 0;
    for (let i = first; i < end && done < length; i++) {
      const size = this.lengths[i]!;
      if (skip >= size) {
        skip -= size;
        continue;
      }
      const piece = Math.min(size - skip, length - done);
      this.piece(this.addresses[i]! + skip, piece, writing, done, visit);
      done += piece;
      skip = 0;
    }
    return done;
  }

  /** Bytes that are not RAM (any more) are left out; a memory without views is copied in pieces. */
  private piece(address: number, length: number, writing: boolean, done: number, visit: Visitor): void {
    const { memory } = this;
    if (memory.view) {
      const view = memory.view(address, length, writing);
      if (view) visit(view, done);
      return;
    }
    for (let at = 0; at < length; at += COPY_BYTES) {
      const copy = new Uint8Array(Math.min(COPY_BYTES, length - at));
      if (!writing) memory.read(address + at, copy);
      visit(copy, done + at);
      if (writing) memory.write(address + at, copy);
    }
  }
}
