import type { DiskFile } from '../disk.js';
import { DiskError } from '../errors.js';
import type { Qcow2Header } from './header.js';
import type { Refcounts } from './refcounts.js';
import { ENTRY_ZERO, EntryHigh, entryOffset, readTable, setEntry, Table } from './tables.js';

/** Memory for L2 tables. */
const CACHE_BYTES = 16 * 2 ** 20;

/** Where the L1 and L2 tables say that clusters of the disk are. Changes stay in memory until `flush`. */
export class ClusterMap {
  readonly clusterBytes: number;
  readonly #perTable: number;
  readonly #l1: Table;
  readonly #tables = new Map<number, Table>();
  readonly #mostTables: number;
  #stamp = 0;
  #frees: (readonly [number, number])[] = [];

  constructor(
    private readonly file: DiskFile,
    private readonly header: Qcow2Header,
    private readonly refcounts: Refcounts,
  ) {
    this.clusterBytes = 2 ** header.clusterBits;
    this.#perTable = this.clusterBytes / 8;
    this.#mostTables = Math.max(16, CACHE_BYTES / this.clusterBytes);
    this.#l1 =
      header.l1Entries === 0
        ? new Table(0, new Uint8Array(0))
        : readTable(file, header.l1Offset, header.l1Entries * 8, this.clusterBytes, 'the L1 table');
  }

  /** The L2 table of a cluster of the disk; undefined when there is none. */
  table(cluster: number): Table | undefined {
    const offset = entryOffset(this.#l1.view, Math.floor(cluster / this.#perTable) * 8);
    return offset === 0 ? undefined : this.#load(offset);
  }

  /** Byte position of a cluster's entry in its table. */
  position(cluster: number): number {
    return (cluster % this.#perTable) * 8;
  }

  /** The L2 table of a cluster, to be changed: new when there is none, a copy when a snapshot uses it too. */
  writableTable(cluster: number): Table {
    const at = Math.floor(cluster / this.#perTable) * 8;
    const old = entryOffset(this.#l1.view, at);
    if (old !== 0 && this.#l1.view.getUint32(at) & EntryHigh.COPIED) return this.#load(old);
    const contents = old === 0 ? new Uint8Array(this.clusterBytes) : this.#load(old).bytes.slice();
    this.#makeRoom();
    const table = new Table(this.refcounts.allocate(), contents);
    table.touch(0, contents.length);
    table.stamp = ++this.#stamp;
    this.#tables.set(table.offset, table);
    setEntry(this.#l1.view, at, table.offset, EntryHigh.COPIED, 0);
    this.#l1.touch(at, 8);
    if (old !== 0) this.free(old, this.clusterBytes);
    return table;
  }

  /** Changes an entry. */
  set(table: Table, at: number, offset: number, high: number, low: number): void {
    setEntry(table.view, at, offset, high, low);
    table.touch(at, 8);
  }

  /** The offset in an entry that must be that of a data cluster. Throws `DiskError` for one that cannot be. */
  dataOffset(table: Table, at: number): number {
    const offset = entryOffset(table.view, at);
    if (offset % this.clusterBytes === 0 && !this.#isMetadata(offset)) return offset;
    throw new DiskError('bad-image', `qcow2: data at byte ${offset}, which cannot be; the image is damaged: try 'qemu-img check -r all' on a copy`);
  }

  /** Whether an entry says that the cluster reads as zeros. */
  isZero(table: Table, at: number): boolean {
    return this.header.version === 3 && (table.view.getUint32(at + 4) & ENTRY_ZERO) !== 0;
  }

  /** What an entry used is not needed any more: given back once no table on the disk refers to it. */
  free(offset: number, lengthBytes: number): void {
    this.#frees.push([offset, lengthBytes]);
  }

  /** Gives back what an entry refers to. */
  freeEntry(table: Table, at: number): void {
    const high = table.view.getUint32(at);
    if (high & EntryHigh.COMPRESSED) {
      const { offset, lengthBytes } = compressedRange(table.view, at, this.header.clusterBits);
      // Freed by whole sectors, as it was allocated.
      this.free(offset - (offset % 512), lengthBytes + (offset % 512));
    } else {
      const offset = this.dataOffset(table, at);
      if (offset !== 0) this.free(offset, this.clusterBytes);
    }
  }

  get dirty(): boolean {
    if (this.#frees.length > 0 || this.#l1.dirty || this.refcounts.dirty) return true;
    for (const table of this.#tables.values()) if (table.dirty) return true;
    return false;
  }

  /** Whether so much is waiting that it should be written. */
  get full(): boolean {
    return this.#frees.length > 4096;
  }

  /**
   * Writes tables in an order in which a crash anywhere leaves a sound image: data and counts, then what refers to them (L2, then L1), and only then are
   * clusters given back. At worst a cluster stays counted that nothing uses.
   */
  flush(): void {
    this.refcounts.writeBack();
    this.file.flush();
    let written = false;
    for (const table of this.#tables.values()) {
      written ||= table.dirty;
      table.writeBack(this.file);
    }
    if (written) this.file.flush();
    if (this.#l1.dirty) {
      this.#l1.writeBack(this.file);
      this.file.flush();
    }
    const frees = this.#frees;
    this.#frees = [];
    for (const [offset, lengthBytes] of frees) this.refcounts.release(offset, lengthBytes);
  }

  #load(offset: number): Table {
    let table = this.#tables.get(offset);
    if (!table) {
      this.#makeRoom();
      table = readTable(this.file, offset, this.clusterBytes, this.clusterBytes, 'an L2 table');
      this.#tables.set(offset, table);
    }
    table.stamp = ++this.#stamp;
    return table;
  }

  /** Forgets the table that was not used for longest; writes all first when it has changed. */
  #makeRoom(): void {
    if (this.#tables.size < this.#mostTables) return;
    let oldest: Table | undefined;
    for (const table of this.#tables.values()) if (oldest === undefined || table.stamp < oldest.stamp) oldest = table;
    if (oldest!.dirty) this.flush();
    this.#tables.delete(oldest!.offset);
  }

  #isMetadata(offset: number): boolean {
    if (offset === 0) return false;
    const [table, length] = this.refcounts.tableRange;
    const inside = (start: number, bytes: number): boolean => offset >= start && offset < start + bytes;
    return inside(table, length) || inside(this.#l1.offset, this.#l1.bytes.length) || this.#tables.has(offset);
  }
}

/** Bytes of the file that a compressed cluster may take. */
export function compressedRange(view: DataView, at: number, clusterBits: number): { offset: number; lengthBytes: number } {
  const shift = 62 - (clusterBits - 8) - 32;
  const high = view.getUint32(at) & 0x3fffffff;
  const offset = (high & (2 ** shift - 1)) * 2 ** 32 + view.getUint32(at + 4);
  if (offset > Number.MAX_SAFE_INTEGER) {
    throw new DiskError(
      'bad-image',
      `qcow2: compressed data at byte ${offset.toExponential(2)}; the image is damaged: try 'qemu-img check -r all' on a copy`,
    );
  }
  return { offset, lengthBytes: ((high >>> shift) + 1) * 512 - (offset % 512) };
}
