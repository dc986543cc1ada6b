import type { DiskFile } from '../disk.js';
import { DiskError } from '../errors.js';

/** Bits in the high half of L1 and L2 entries. */
export const EntryHigh = { COPIED: 0x80000000, COMPRESSED: 0x40000000 } as const;
/** Bit in the low half of an L2 entry: the cluster reads as zeros. */
export const ENTRY_ZERO = 1;

/** Byte offset in an L1 entry, L2 entry or refcount-table entry (bits 55:9). */
export const entryOffset = (view: DataView, at: number): number =>
  (view.getUint32(at) & 0x00ffffff) * 2 ** 32 + ((view.getUint32(at + 4) & 0xfffffe00) >>> 0);

/** Writes an entry: an offset with flags. */
export function setEntry(view: DataView, at: number, offset: number, high: number, low: number): void {
  view.setUint32(at, Math.floor(offset / 2 ** 32) | high);
  view.setUint32(at + 4, ((offset % 2 ** 32) | low) >>> 0);
}

/** A table of an image in memory, with the range of it that has to be written. */
export class Table {
  readonly view: DataView;
  #from = Infinity;
  #to = 0;
  /** When it was last used. */
  stamp = 0;

  constructor(
    readonly offset: number,
    readonly bytes: Uint8Array,
  ) {
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  }

  get dirty(): boolean {
    return this.#to > this.#from;
  }

  touch(from: number, lengthBytes: number): void {
    this.#from = Math.min(this.#from, from);
    this.#to = Math.max(this.#to, from + lengthBytes);
  }

  /** Writes what has changed, in whole sectors. */
  writeBack(file: DiskFile): void {
    if (!this.dirty) return;
    const from = this.#from - (this.#from % 512);
    const to = Math.min(this.bytes.length, Math.ceil(this.#to / 512) * 512);
    file.write(this.offset + from, this.bytes.subarray(from, to));
    this.#from = Infinity;
    this.#to = 0;
  }
}

/** Reads a table that an image points to. Throws `DiskError`. */
export function readTable(file: DiskFile, offset: number, lengthBytes: number, clusterBytes: number, what: string): Table {
  if (offset % clusterBytes || offset === 0) {
    throw new DiskError('bad-image', `qcow2: ${what} at byte ${offset} is not at the start of a cluster; try 'qemu-img check -r all' on a copy`);
  }
  if (offset >= file.sizeBytes) {
    throw new DiskError(
      'truncated',
      `qcow2: ${what} at byte ${offset} lies past the end of the file (${file.sizeBytes} bytes); copy the image again`,
    );
  }
  const bytes = new Uint8Array(lengthBytes);
  file.read(offset, bytes);
  return new Table(offset, bytes);
}
