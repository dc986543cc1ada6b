import { assertRange, assertWritable, type Disk, type DiskFile, joined, lengthOf, writeZeroBytes } from '../disk.js';
import { DiskError } from '../errors.js';
import { ClusterMap, compressedRange } from './cluster-map.js';
import { HeaderOffset, type Qcow2Header, readHeader } from './header.js';
import { Refcounts } from './refcounts.js';
import { repairRefcounts } from './references.js';
import { ENTRY_ZERO, EntryHigh, entryOffset, type Table } from './tables.js';

/** Unpacks a compressed cluster: raw deflate or zstd data, followed by bytes that do not belong to it, into exactly `lengthBytes`. */
export type Decompress = (kind: 'deflate' | 'zstd', data: Uint8Array, lengthBytes: number) => Uint8Array;

/** How a qcow2 image is opened. */
export interface Qcow2Options {
  readonly readOnly?: boolean;
  /** The disk below, when the header names a backing file. */
  readonly backing?: Disk;
  /** Needed for images with compressed clusters. */
  readonly decompress?: Decompress;
}

/** A disk in a qcow2 image, version 2 or 3 ("QCOW2 image format" of QEMU). Tables are written at `flush`, in an order that survives a crash anywhere. */
export class Qcow2Disk implements Disk {
  readonly sizeBytes: number;
  readonly readOnly: boolean;
  readonly header: Qcow2Header;
  readonly #map: ClusterMap;
  readonly #refcounts: Refcounts;
  readonly #clusterBytes: number;
  readonly #backing: Disk | undefined;
  #unpackedFrom = -1;
  #unpacked = new Uint8Array(0);
  #autoclear: boolean;

  /** Throws `DiskError`. */
  constructor(
    private readonly file: DiskFile,
    private readonly options: Qcow2Options = {},
  ) {
    const header = readHeader(file);
    this.header = header;
    this.readOnly = options.readOnly ?? false;
    if (header.corrupt && !this.readOnly) {
      throw new DiskError('bad-image', "qcow2: the image is marked corrupt; repair it with 'qemu-img check -r all', or open it read-only");
    }
    if (header.backingName !== undefined && !options.backing) {
      throw new DiskError('bad-option', `qcow2: the backing file '${header.backingName}' is missing; give it as 'backing'`);
    }
    this.#backing = options.backing;
    this.sizeBytes = Math.floor(header.sizeBytes / 512) * 512;
    this.#clusterBytes = 2 ** header.clusterBits;
    this.#refcounts = new Refcounts(file, header);
    this.#map = new ClusterMap(file, header, this.#refcounts);
    this.#autoclear = header.autoclear;
    if (header.dirty && !this.readOnly) this.#repair();
  }

  read(offset: number, into: Uint8Array): void {
    assertRange(this, offset, into.length);
    for (let at = 0; at < into.length; ) at += this.#readSome(offset + at, into, at);
  }

  write(offset: number, from: Uint8Array): void {
    assertWritable(this);
    assertRange(this, offset, from.length);
    this.#beforeWrite();
    for (let at = 0; at < from.length; ) {
      const cluster = Math.floor((offset + at) / this.#clusterBytes);
      const within = (offset + at) % this.#clusterBytes;
      const length = Math.min(this.#clusterBytes - within, from.length - at);
      this.#writeCluster(cluster, within, from.subarray(at, at + length));
      at += length;
    }
    if (this.#map.full) this.#map.flush();
  }

  readParts(offset: number, into: readonly Uint8Array[]): void {
    const length = lengthOf(into);
    assertRange(this, offset, length);
    const place = this.file.readParts ? this.#placeOf(offset, length, 0) : 0;
    if (place > 0 && place + length <= this.file.sizeBytes) return this.file.readParts!(place, into);
    let at = offset;
    for (const part of into) {
      this.read(at, part);
      at += part.length;
    }
  }

  /** Clusters that there are not yet want their data as a whole: else they would be filled first from what is below. */
  writeParts(offset: number, from: readonly Uint8Array[]): void {
    assertWritable(this);
    const length = lengthOf(from);
    assertRange(this, offset, length);
    const place = this.file.writeParts ? this.#placeOf(offset, length, EntryHigh.COPIED) : 0;
    if (place === 0) return this.write(offset, joined(from, length));
    this.#beforeWrite();
    this.file.writeParts!(place, from);
  }

  discard(offset: number, lengthBytes: number): void {
    assertWritable(this);
    assertRange(this, offset, lengthBytes);
    this.#beforeWrite();
    const [first, end] = this.#wholeClusters(offset, lengthBytes);
    for (let cluster = first; cluster < end; cluster++) this.#unmap(cluster);
    if (this.#map.full) this.#map.flush();
  }

  writeZeroes(offset: number, lengthBytes: number, mayUnmap: boolean): void {
    assertWritable(this);
    assertRange(this, offset, lengthBytes);
    this.#beforeWrite();
    const [first, end] = this.#wholeClusters(offset, lengthBytes);
    if (first >= end) return writeZeroBytes(this, offset, lengthBytes);
    const head = first * this.#clusterBytes - offset;
    writeZeroBytes(this, offset, head);
    for (let cluster = first; cluster < end; cluster++) {
      const done = mayUnmap ? this.#unmap(cluster) : this.#markZero(cluster);
      const start = cluster * this.#clusterBytes;
      if (!done) writeZeroBytes(this, start, Math.min(this.#clusterBytes, this.sizeBytes - start));
    }
    const tail = Math.min(end * this.#clusterBytes, this.sizeBytes);
    if (tail < offset + lengthBytes) writeZeroBytes(this, tail, offset + lengthBytes - tail);
    if (this.#map.full) this.#map.flush();
  }

  flush(): void {
    if (this.readOnly) return;
    if (this.#map.dirty) this.#map.flush();
    else this.file.flush();
  }

  close(): void {
    if (!this.readOnly) while (this.#map.dirty) this.#map.flush();
    this.flush();
    this.file.close();
    this.#backing?.close();
  }

  /** Reads up to where the way in which clusters are kept changes; returns the number of bytes. */
  #readSome(offset: number, into: Uint8Array, at: number): number {
    const cluster = Math.floor(offset / this.#clusterBytes);
    const within = offset % this.#clusterBytes;
    let length = Math.min(this.#clusterBytes - within, into.length - at);
    const table = this.#map.table(cluster);
    const position = this.#map.position(cluster);
    if (table && table.view.getUint32(position) & EntryHigh.COMPRESSED) {
      into.set(this.#unpack(table, position).subarray(within, within + length), at);
    } else if (table && this.#map.isZero(table, position)) into.fill(0, at, at + length);
    else {
      const host = table ? this.#map.dataOffset(table, position) : 0;
      for (let next = cluster + 1; at + length < into.length && this.#follows(next, host, (next - cluster) * this.#clusterBytes); next++) {
        length = Math.min(length + this.#clusterBytes, into.length - at);
      }
      if (host === 0) this.#readBacking(offset, into.subarray(at, at + length));
      else this.#readHost(host + within, into.subarray(at, at + length));
    }
    return length;
  }

  /** Whether a cluster is kept right behind `host` (0: in the backing file, too). */
  #follows(cluster: number, host: number, distance: number): boolean {
    const table = this.#map.table(cluster);
    if (!table) return host === 0;
    const at = this.#map.position(cluster);
    if (table.view.getUint32(at) & EntryHigh.COMPRESSED || this.#map.isZero(table, at)) return false;
    return entryOffset(table.view, at) === (host === 0 ? 0 : host + distance);
  }

  /** Where a range lies in the file, if it does so in one piece of plain data whose entries have the bits of `high`; else 0. */
  #placeOf(offset: number, length: number, high: number): number {
    const first = Math.floor(offset / this.#clusterBytes);
    const end = Math.ceil((offset + length) / this.#clusterBytes);
    let host = 0;
    for (let cluster = first; cluster < end; cluster++) {
      const table = this.#map.table(cluster);
      const at = this.#map.position(cluster);
      if (!table || this.#map.isZero(table, at) || (table.view.getUint32(at) & (high | EntryHigh.COMPRESSED)) >>> 0 !== high >>> 0) return 0;
      const place = this.#map.dataOffset(table, at);
      if (cluster === first) host = place;
      if (place === 0 || place !== host + (cluster - first) * this.#clusterBytes) return 0;
    }
    return host === 0 ? 0 : host + (offset - first * this.#clusterBytes);
  }

  #readHost(offset: number, into: Uint8Array): void {
    if (offset >= this.file.sizeBytes) {
      throw new DiskError(
        'truncated',
        `qcow2: data at byte ${offset} lies past the end of the file (${this.file.sizeBytes} bytes); copy the image again`,
      );
    }
    this.file.read(offset, into);
  }

  #readBacking(offset: number, into: Uint8Array): void {
    const available = this.#backing ? Math.max(0, Math.min(into.length, this.#backing.sizeBytes - offset)) : 0;
    if (available > 0) this.#backing!.read(offset, into.subarray(0, available));
    into.fill(0, available);
  }

  #unpack(table: Table, at: number): Uint8Array {
    const { offset, lengthBytes } = compressedRange(table.view, at, this.header.clusterBits);
    if (this.#unpackedFrom === offset) return this.#unpacked;
    const { decompress } = this.options;
    if (!decompress) throw new DiskError('unsupported', "qcow2: the image has compressed clusters; give 'decompress'");
    if (offset >= this.file.sizeBytes) {
      throw new DiskError('truncated', `qcow2: compressed data at byte ${offset} lies past the end of the file; copy the image again`);
    }
    const data = new Uint8Array(lengthBytes);
    this.file.read(offset, data);
    let unpacked: Uint8Array | undefined;
    try {
      unpacked = decompress(this.header.compression, data, this.#clusterBytes);
    } catch (error) {
      if (error instanceof DiskError) throw error;
    }
    if (unpacked?.length !== this.#clusterBytes) {
      throw new DiskError('bad-image', `qcow2: the compressed cluster at byte ${offset} is damaged; take the image from a backup`);
    }
    this.#unpackedFrom = offset;
    return (this.#unpacked = Uint8Array.from(unpacked));
  }

  #writeCluster(cluster: number, within: number, data: Uint8Array): void {
    const table = this.#map.writableTable(cluster);
    const at = this.#map.position(cluster);
    const high = table.view.getUint32(at);
    const compressed = (high & EntryHigh.COMPRESSED) !== 0;
    const host = compressed ? 0 : this.#map.dataOffset(table, at);
    const zero = !compressed && this.#map.isZero(table, at);
    if (host !== 0 && high & EntryHigh.COPIED) {
      if (!zero) return this.file.write(host + within, data);
      this.file.write(host, this.#wholeCluster(cluster, within, data));
      return this.#map.set(table, at, host, EntryHigh.COPIED, 0);
    }
    const fresh = this.#refcounts.allocate();
    const empty = zero || (host === 0 && !compressed && !this.#backing);
    if (empty && fresh >= this.file.sizeBytes) {
      // Growing a file gives zeros; only the data need be written.
      this.file.truncate(fresh + this.#clusterBytes);
      this.file.write(fresh + within, data);
    } else this.file.write(fresh, this.#wholeCluster(cluster, within, data));
    if (fresh <= this.#unpackedFrom && this.#unpackedFrom < fresh + this.#clusterBytes) this.#unpackedFrom = -1;
    if (compressed || host !== 0) this.#map.freeEntry(table, at);
    this.#map.set(table, at, fresh, EntryHigh.COPIED, 0);
  }

  /** A cluster as it reads now, with `data` in it. */
  #wholeCluster(cluster: number, within: number, data: Uint8Array): Uint8Array {
    if (data.length === this.#clusterBytes) return data;
    const start = cluster * this.#clusterBytes;
    const whole = new Uint8Array(this.#clusterBytes);
    this.read(start, whole.subarray(0, Math.min(this.#clusterBytes, this.sizeBytes - start)));
    whole.set(data, within);
    return whole;
  }

  /** Clusters that lie in a range as a whole; the last one of the disk may be cut. */
  #wholeClusters(offset: number, lengthBytes: number): readonly [number, number] {
    const end = offset + lengthBytes;
    return [
      Math.ceil(offset / this.#clusterBytes),
      end === this.sizeBytes ? Math.ceil(end / this.#clusterBytes) : Math.floor(end / this.#clusterBytes),
    ];
  }

  /** Lets a cluster read as zeros and gives its space back; false when this version of the format cannot say that. */
  #unmap(cluster: number): boolean {
    if (!this.#map.table(cluster) && !this.#backing) return true;
    if (this.#backing && this.header.version === 2) return false;
    const table = this.#map.writableTable(cluster);
    const at = this.#map.position(cluster);
    this.#map.freeEntry(table, at);
    this.#map.set(table, at, 0, 0, this.#backing ? ENTRY_ZERO : 0);
    return true;
  }

  /** Lets a cluster read as zeros and keeps its space; false when the format cannot say that. */
  #markZero(cluster: number): boolean {
    if (this.header.version === 2) return false;
    const table = this.#map.writableTable(cluster);
    const at = this.#map.position(cluster);
    const high = table.view.getUint32(at);
    if (!(high & EntryHigh.COMPRESSED) && high & EntryHigh.COPIED)
      this.#map.set(table, at, this.#map.dataOffset(table, at), EntryHigh.COPIED, ENTRY_ZERO);
    else {
      this.#map.freeEntry(table, at);
      this.#map.set(table, at, 0, 0, ENTRY_ZERO);
    }
    return true;
  }

  /** Features whose data would be wrong after a write are switched off before the first one. */
  #beforeWrite(): void {
    if (!this.#autoclear) return;
    this.#autoclear = false;
    this.file.write(HeaderOffset.AUTOCLEAR, new Uint8Array(8));
    this.file.flush();
  }

  /** The image was not closed: counts its references anew, then clears the mark. */
  #repair(): void {
    repairRefcounts(this.file, this.header, this.#refcounts);
    this.file.flush();
    const features = new Uint8Array(8);
    this.file.read(HeaderOffset.INCOMPATIBLE, features);
    features[7] = features[7]! & ~1;
    this.file.write(HeaderOffset.INCOMPATIBLE, features);
    this.file.flush();
  }
}
