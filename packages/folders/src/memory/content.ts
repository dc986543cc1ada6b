import { FileError } from '../errors.js';

const CLUSTER_BYTES = 0x1_0000;

/** How many bytes are taken by all files together. */
export interface Room {
  usedBytes: number;
  readonly mostBytes: number;
}

/** The content of one file: clusters, of which those that were never written take no room. */
export class FileContent {
  sizeBytes = 0;
  private readonly clusters = new Map<number, Uint8Array>();

  constructor(private readonly room: Room) {}

  /** Bytes that it takes. */
  get takenBytes(): number {
    return this.clusters.size * CLUSTER_BYTES;
  }

  read(offset: number, target: Uint8Array): number {
    const length = Math.max(0, Math.min(target.length, this.sizeBytes - offset));
    this.each(offset, length, (cluster, from, part, done) => {
      const bytes = this.clusters.get(cluster);
      if (bytes) target.set(bytes.subarray(from, from + part), done);
      else target.fill(0, done, done + part);
    });
    return length;
  }

  write(offset: number, source: Uint8Array): number {
    if (!Number.isSafeInteger(offset + source.length)) throw new FileError('EFBIG');
    this.each(offset, source.length, (cluster, from, part, done) => {
      this.cluster(cluster).set(source.subarray(done, done + part), from);
      this.sizeBytes = Math.max(this.sizeBytes, offset + done + part);
    });
    return source.length;
  }

  resize(sizeBytes: number): void {
    if (sizeBytes < this.sizeBytes) {
      const last = Math.floor(sizeBytes / CLUSTER_BYTES);
      this.clusters.get(last)?.fill(0, sizeBytes - last * CLUSTER_BYTES);
      for (const cluster of this.clusters.keys()) if (cluster * CLUSTER_BYTES >= sizeBytes) this.forget(cluster);
    }
    this.sizeBytes = sizeBytes;
  }

  private cluster(number: number): Uint8Array {
    const known = this.clusters.get(number);
    if (known) return known;
    if (this.room.usedBytes + CLUSTER_BYTES > this.room.mostBytes) throw new FileError('ENOSPC');
    const bytes = new Uint8Array(CLUSTER_BYTES);
    this.clusters.set(number, bytes);
    this.room.usedBytes += CLUSTER_BYTES;
    return bytes;
  }

  private forget(cluster: number): void {
    if (this.clusters.delete(cluster)) this.room.usedBytes -= CLUSTER_BYTES;
  }

  private each(offset: number, length: number, visit: (cluster: number, from: number, part: number, done: number) => void): void {
    for (let done = 0; done < length; ) {
      const cluster = Math.floor((offset + done) / CLUSTER_BYTES);
      const from = offset + done - cluster * CLUSTER_BYTES;
      const part = Math.min(length - done, CLUSTER_BYTES - from);
      visit(cluster, from, part, done);
      done += part;
    }
  }
}
