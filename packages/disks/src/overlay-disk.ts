import { HeldBlocks } from '@nestvm/state';
import { assertRange, type Disk, writeZeroBytes } from './disk.js';

/** Unit in which an overlay holds what was written. */
const BLOCK = 4096;

/** A disk that can be written, above one that stays as it is: what is written is kept in memory and is gone at the end (`-snapshot`). */
export class OverlayDisk implements Disk {
  readonly sizeBytes: number;
  readonly readOnly = false;
  readonly held: HeldBlocks;

  constructor(private readonly below: Disk) {
    this.sizeBytes = below.sizeBytes;
    this.held = new HeldBlocks(below.sizeBytes, BLOCK);
  }

  /** Bytes of memory that the overlay holds. */
  get heldBytes(): number {
    return this.held.count * BLOCK;
  }

  read(offset: number, into: Uint8Array): void {
    assertRange(this, offset, into.length);
    for (let at = 0; at < into.length; ) {
      const within = (offset + at) % BLOCK;
      const block = this.held.get(Math.floor((offset + at) / BLOCK));
      let length = Math.min(BLOCK - within, into.length - at);
      if (block) into.set(block.subarray(within, within + length), at);
      else {
        while (at + length < into.length && !this.held.get(Math.floor((offset + at + length) / BLOCK))) {
          length = Math.min(length + BLOCK, into.length - at);
        }
        this.below.read(offset + at, into.subarray(at, at + length));
      }
      at += length;
    }
  }

  write(offset: number, from: Uint8Array): void {
    assertRange(this, offset, from.length);
    for (let at = 0; at < from.length; ) {
      const within = (offset + at) % BLOCK;
      const length = Math.min(BLOCK - within, from.length - at);
      this.#writable(Math.floor((offset + at) / BLOCK), length === BLOCK).set(from.subarray(at, at + length), within);
      at += length;
    }
  }

  discard(offset: number, lengthBytes: number): void {
    assertRange(this, offset, lengthBytes);
  }

  writeZeroes(offset: number, lengthBytes: number): void {
    assertRange(this, offset, lengthBytes);
    writeZeroBytes(this, offset, lengthBytes);
  }

  flush(): void {}

  close(): void {
    this.below.close();
  }

  #writable(index: number, whole: boolean): Uint8Array {
    let block = this.held.writable(index);
    if (block) return block;
    block = new Uint8Array(BLOCK);
    const start = index * BLOCK;
    if (!whole) this.below.read(start, block.subarray(0, Math.min(BLOCK, this.sizeBytes - start)));
    this.held.set(index, block);
    return block;
  }
}
