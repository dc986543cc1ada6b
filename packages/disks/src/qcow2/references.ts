import type { DiskFile } from '../disk.js';
import { DiskError } from '../errors.js';
import { compressedRange } from './cluster-map.js';
import { type Qcow2Header, readHeader } from './header.js';
import { Refcounts } from './refcounts.js';
import { EntryHigh, entryOffset, readTable } from './tables.js';

/** Clusters of the largest file whose references are counted here. */
const MOST_CLUSTERS = 2 ** 28;

/** What a check of an image found. */
export interface Qcow2Report {
  /** What makes the image unsafe to use. */
  readonly errors: readonly string[];
  /** Clusters that are counted but not used: lost space, no danger. */
  readonly leakedClusters: number;
}

/** Checks counts and pointers of a qcow2 image, as `qemu-img check` does. Throws `DiskError` when it cannot be opened at all. */
export function checkQcow2(file: DiskFile): Qcow2Report {
  const header = readHeader(file);
  const refcounts = new Refcounts(file, header);
  const walk = new ReferenceWalk(file, header, refcounts);
  walk.run();
  let leakedClusters = 0;
  for (let cluster = 0; cluster < walk.counts.length; cluster++) {
    const used = walk.counts[cluster]!;
    const counted = refcounts.get(cluster);
    if (used > counted) walk.errors.push(`cluster ${cluster} is used ${used} times but counted ${counted} times`);
    if (used < counted) leakedClusters++;
  }
  return { errors: walk.errors, leakedClusters };
}

/** Sets every count of an image to what its tables say. Throws `DiskError` (`bad-image`, `unsupported`). */
export function repairRefcounts(file: DiskFile, header: Qcow2Header, refcounts: Refcounts): void {
  if (header.hasBitmaps)
    throw new DiskError('unsupported', "qcow2: the image was not closed and has bitmaps; repair it with 'qemu-img check -r all'");
  const walk = new ReferenceWalk(file, header, refcounts, false);
  walk.run();
  const fatal = walk.errors[0];
  if (fatal !== undefined) throw new DiskError('bad-image', `qcow2: the image was not closed, and ${fatal}; repair it with 'qemu-img check -r all'`);
  for (let cluster = 0; cluster < walk.counts.length; cluster++) {
    if (refcounts.get(cluster) !== walk.counts[cluster]) refcounts.set(cluster, walk.counts[cluster]!);
  }
  refcounts.writeBack();
}

/** Goes through all tables and counts how often each cluster of the file is used. */
class ReferenceWalk {
  readonly counts: Uint32Array;
  readonly errors: string[] = [];
  readonly #clusterBytes: number;

  constructor(
    private readonly file: DiskFile,
    private readonly header: Qcow2Header,
    private readonly refcounts: Refcounts,
    private readonly checkCopied = true,
  ) {
    this.#clusterBytes = 2 ** header.clusterBits;
    const clusters = Math.ceil(file.sizeBytes / this.#clusterBytes);
    if (clusters > MOST_CLUSTERS)
      throw new DiskError('unsupported', `qcow2: a file of ${clusters} clusters is too large to be checked here; use qemu-img check`);
    this.counts = new Uint32Array(clusters);
  }

  run(): void {
    const { header, refcounts } = this;
    this.#use(0, 1, 'the header');
    this.#use(header.refcountTableOffset, header.refcountTableClusters * this.#clusterBytes, 'the refcount table');
    for (const offset of refcounts.blockOffsets()) this.#use(offset, this.#clusterBytes, 'a refcount block');
    this.#walkL1(header.l1Offset, header.l1Entries, true);
    this.#walkSnapshots();
  }

  #use(offset: number, lengthBytes: number, what: string): void {
    const last = Math.floor((offset + lengthBytes - 1) / this.#clusterBytes);
    for (let cluster = Math.floor(offset / this.#clusterBytes); cluster <= last; cluster++) {
      // A file may end inside of what its last cluster is kept for.
      if (cluster >= this.counts.length) return void this.errors.push(`${what} at byte ${offset} lies past the end of the file`);
      this.counts[cluster] = this.counts[cluster]! + 1;
    }
  }

  #walkL1(offset: number, entries: number, active: boolean): void {
    if (entries === 0) return;
    this.#use(offset, entries * 8, 'an L1 table');
    const l1 = readTable(this.file, offset, entries * 8, this.#clusterBytes, 'an L1 table');
    for (let at = 0; at < entries * 8; at += 8) {
      const l2 = entryOffset(l1.view, at);
      if (l2 === 0) continue;
      this.#use(l2, this.#clusterBytes, 'an L2 table');
      if (active) this.#compareCopied(l2, l1.view.getUint32(at), 'L2 table');
      if (l2 % this.#clusterBytes || l2 >= this.file.sizeBytes) this.errors.push(`an L2 table is at byte ${l2}`);
      else this.#walkL2(l2, active);
    }
  }

  #walkL2(offset: number, active: boolean): void {
    const { view } = readTable(this.file, offset, this.#clusterBytes, this.#clusterBytes, 'an L2 table');
    for (let at = 0; at < this.#clusterBytes; at += 8) {
      const high = view.getUint32(at);
      if (high & EntryHigh.COMPRESSED) {
        const range = compressedRange(view, at, this.header.clusterBits);
        const start = range.offset - (range.offset % 512);
        // The last sectors of a compressed cluster need not be there.
        this.#use(start, Math.min(range.offset + range.lengthBytes, Math.max(start + 1, this.file.sizeBytes)) - start, 'compressed data');
        continue;
      }
      const data = entryOffset(view, at);
      if (data === 0) continue;
      if (data % this.#clusterBytes) this.errors.push(`data is at byte ${data}`);
      this.#use(data, this.#clusterBytes, 'data');
      if (active) this.#compareCopied(data, high, 'data cluster');
    }
  }

  #compareCopied(offset: number, high: number, what: string): void {
    if (!this.checkCopied || offset % this.#clusterBytes) return;
    const count = this.refcounts.get(offset / this.#clusterBytes);
    const copied = (high & EntryHigh.COPIED) !== 0;
    if (copied !== (count === 1))
      this.errors.push(`a ${what} at byte ${offset} is counted ${count} times and marked as ${copied ? 'the only one' : 'shared'}`);
  }

  #walkSnapshots(): void {
    const { snapshots, snapshotsOffset } = this.header;
    if (snapshots === 0) return;
    let at = snapshotsOffset;
    const entry = new Uint8Array(40);
    const view = new DataView(entry.buffer);
    for (let i = 0; i < snapshots; i++) {
      if (at + 40 > this.file.sizeBytes) return void this.errors.push(`snapshot ${i} lies past the end of the file`);
      this.file.read(at, entry);
      const l1 = entryOffset(view, 0);
      const entries = view.getUint32(8);
      if (entries * 8 > 32 * 2 ** 20 || l1 % this.#clusterBytes || (entries > 0 && l1 === 0)) this.errors.push(`snapshot ${i} has no L1 table`);
      else if (l1 < this.file.sizeBytes) this.#walkL1(l1, entries, false);
      else this.errors.push(`the L1 table of snapshot ${i} lies past the end of the file`);
      at += Math.ceil((40 + view.getUint32(36) + view.getUint16(12) + view.getUint16(14)) / 8) * 8;
    }
    this.#use(snapshotsOffset, at - snapshotsOffset, 'the snapshot table');
  }
}
