import type { DiskFile } from '../disk.js';
import { DiskError } from '../errors.js';
import { HeaderOffset, type Qcow2Header } from './header.js';
import { entryOffset, readTable, setEntry, Table } from './tables.js';

/** Clusters that an image of this package may have: their reference counts must fit in memory. */
const MOST_CLUSTERS = 2 ** 32;

/** Longest refcount table that readers take. */
const MOST_TABLE_BYTES = 8 * 2 ** 20;

/** The reference counts of an image, and with them the allocation of its clusters. Changes stay in memory until `writeBack`. */
export class Refcounts {
  readonly #clusterBytes: number;
  readonly #perBlock: number;
  readonly #blocks = new Map<number, Table>();
  readonly #dirty = new Set<Table>();
  #table: Table;
  /** The table has been laid out anew: the header must be made to point to it. */
  #moved: { readonly oldOffset: number; readonly oldClusters: number } | undefined;
  /** No cluster below this one is free. */
  #hint = 1;

  constructor(
    private readonly file: DiskFile,
    private readonly header: Qcow2Header,
  ) {
    this.#clusterBytes = 2 ** header.clusterBits;
    this.#perBlock = (this.#clusterBytes * 8) / 2 ** header.refcountOrder;
    const lengthBytes = header.refcountTableClusters * this.#clusterBytes;
    this.#table = readTable(file, header.refcountTableOffset, lengthBytes, this.#clusterBytes, 'the refcount table');
  }

  /** Offset and length of the table, in bytes. */
  get tableRange(): readonly [number, number] {
    return [this.#table.offset, this.#table.bytes.length];
  }

  /** Offsets of all blocks. */
  blockOffsets(): number[] {
    const offsets: number[] = [];
    for (let at = 0; at < this.#table.bytes.length; at += 8) {
      const offset = entryOffset(this.#table.view, at);
      if (offset !== 0) offsets.push(offset);
    }
    return offsets;
  }

  get(cluster: number): number {
    const block = this.#block(Math.floor(cluster / this.#perBlock));
    return block ? readCount(block.view, cluster % this.#perBlock, this.header.refcountOrder) : 0;
  }

  /** Number of clusters that the blocks there are tell about. */
  get coveredClusters(): number {
    let last = -1;
    for (let at = 0; at < this.#table.bytes.length; at += 8) if (entryOffset(this.#table.view, at) !== 0) last = at / 8;
    return (last + 1) * this.#perBlock;
  }

  /** Sets a count; makes the block for it when there is none. */
  set(cluster: number, count: number): void {
    const { refcountOrder } = this.header;
    if (refcountOrder < 6 && count >= 2 ** (2 ** refcountOrder)) {
      throw new DiskError(
        'unsupported',
        `qcow2: cluster ${cluster} is used ${count} times, more than its counter holds; convert the image with qemu-img`,
      );
    }
    const block = this.#block(Math.floor(cluster / this.#perBlock)) ?? this.#addBlock(Math.floor(cluster / this.#perBlock));
    writeCount(block.view, cluster % this.#perBlock, refcountOrder, count);
    block.touch(Math.floor(((cluster % this.#perBlock) * 2 ** refcountOrder) / 8), Math.max(1, 2 ** refcountOrder / 8));
    this.#dirty.add(block);
    if (count === 0) this.#hint = Math.min(this.#hint, cluster);
  }

  /** Gives up one use of each cluster that a range of bytes touches. */
  release(offset: number, lengthBytes: number): void {
    const last = Math.floor((offset + lengthBytes - 1) / this.#clusterBytes);
    for (let cluster = Math.floor(offset / this.#clusterBytes); cluster <= last; cluster++) {
      const count = this.get(cluster);
      // A count that is already 0 is an error of the image, which freeing must not make worse.
      if (count > 0) this.set(cluster, count - 1);
    }
  }

  /** Allocates adjacent clusters, counted once each; returns their byte offset. */
  allocate(clusters = 1): number {
    let start = this.#hint;
    for (let found = 0; found < clusters; ) {
      if (start + clusters > MOST_CLUSTERS)
        throw new DiskError('unsupported', 'qcow2: the image would have more than 2^32 clusters; use larger clusters');
      // A block that comes to be may lie in the cluster that is asked for.
      this.#ensureBlock(start + found);
      if (this.get(start + found) === 0) found++;
      else {
        start += found + 1;
        found = 0;
      }
    }
    for (let i = 0; i < clusters; i++) this.set(start + i, 1);
    if (clusters === 1 || start === this.#hint) this.#hint = start + clusters;
    return start * this.#clusterBytes;
  }

  get dirty(): boolean {
    return this.#dirty.size > 0 || this.#table.dirty || this.#moved !== undefined;
  }

  /** Writes counts so that, wherever writing ends, no count is too low. The caller flushes before it writes what refers to the clusters. */
  writeBack(): void {
    if (!this.dirty) return;
    for (const block of this.#dirty) block.writeBack(this.file);
    this.#dirty.clear();
    if (!this.#table.dirty && !this.#moved) return;
    this.file.flush();
    this.#table.writeBack(this.file);
    const moved = this.#moved;
    if (!moved) return;
    this.file.flush();
    const pointer = new DataView(new ArrayBuffer(12));
    setEntry(pointer, 0, this.#table.offset, 0, 0);
    pointer.setUint32(8, this.#table.bytes.length / this.#clusterBytes);
    this.file.write(HeaderOffset.REFCOUNT_TABLE, new Uint8Array(pointer.buffer));
    this.file.flush();
    this.#moved = undefined;
    this.release(moved.oldOffset, moved.oldClusters * this.#clusterBytes);
    this.writeBack();
  }

  #block(index: number): Table | undefined {
    const known = this.#blocks.get(index);
    if (known) return known;
    if (index * 8 >= this.#table.bytes.length) return undefined;
    const offset = entryOffset(this.#table.view, index * 8);
    if (offset === 0) return undefined;
    const block = readTable(this.file, offset, this.#clusterBytes, this.#clusterBytes, `refcount block ${index}`);
    this.#blocks.set(index, block);
    return block;
  }

  #ensureBlock(cluster: number): void {
    const index = Math.floor(cluster / this.#perBlock);
    if (!this.#block(index)) this.#addBlock(index);
  }

  /** A new block lies in the first cluster that it counts, which nothing can have used yet. */
  #addBlock(index: number): Table {
    if (index * 8 >= this.#table.bytes.length) this.#growTable(index + 1);
    const known = this.#block(index);
    if (known) return known;
    const cluster = index * this.#perBlock;
    const block = new Table(cluster * this.#clusterBytes, new Uint8Array(this.#clusterBytes));
    block.touch(0, this.#clusterBytes);
    this.#blocks.set(index, block);
    setEntry(this.#table.view, index * 8, block.offset, 0, 0);
    this.#table.touch(index * 8, 8);
    writeCount(block.view, 0, this.header.refcountOrder, 1);
    this.#dirty.add(block);
    return block;
  }

  /** Lays the table out anew behind all that is counted so far, with room to grow. */
  #growTable(entries: number): void {
    if (this.#moved) this.writeBack();
    const old = this.#table;
    const clusters = Math.ceil((Math.max(entries, (old.bytes.length / 8) * 1.5) * 8) / this.#clusterBytes) + 1;
    if (clusters >= this.#perBlock || clusters * this.#clusterBytes > MOST_TABLE_BYTES) {
      throw new DiskError(
        'unsupported',
        `qcow2: clusters of ${this.#clusterBytes} bytes are too small for an image that large; convert it with qemu-img`,
      );
    }
    // The first new block comes first; the table follows it.
    const firstIndex = old.bytes.length / 8;
    const offset = (firstIndex * this.#perBlock + 1) * this.#clusterBytes;
    const table = new Table(offset, new Uint8Array(clusters * this.#clusterBytes));
    table.bytes.set(old.bytes);
    table.touch(0, table.bytes.length);
    this.#moved = { oldOffset: old.offset, oldClusters: old.bytes.length / this.#clusterBytes };
    this.#table = table;
    for (let i = 0; i < clusters; i++) this.set(offset / this.#clusterBytes + i, 1);
  }
}

/** Reads count `index` of a block. */
function readCount(view: DataView, index: number, order: number): number {
  if (order === 4) return view.getUint16(index * 2);
  if (order === 5) return view.getUint32(index * 4);
  if (order === 6) return view.getUint32(index * 8) * 2 ** 32 + view.getUint32(index * 8 + 4);
  if (order === 3) return view.getUint8(index);
  const bits = 2 ** order;
  return (view.getUint8((index * bits) >> 3) >> ((index * bits) & 7)) & (2 ** bits - 1);
}

function writeCount(view: DataView, index: number, order: number, count: number): void {
  if (order === 4) view.setUint16(index * 2, count);
  else if (order === 5) view.setUint32(index * 4, count);
  else if (order === 6) {
    view.setUint32(index * 8, Math.floor(count / 2 ** 32));
    view.setUint32(index * 8 + 4, count % 2 ** 32);
  } else if (order === 3) view.setUint8(index, count);
  else {
    const bits = 2 ** order;
    const at = (index * bits) >> 3;
    const shift = (index * bits) & 7;
    view.setUint8(at, (view.getUint8(at) & ~((2 ** bits - 1) << shift)) | (count << shift));
  }
}
