import { closeSync, fdatasyncSync, fstatSync, ftruncateSync, openSync, readSync, readvSync, statSync, writeSync, writevSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { inflateRawSync } from 'node:zlib';
import { type Decompress, DiskError, type DiskFile, type ImageHost } from '@nestvm/disks';
import { UsageError } from './errors.js';
import { reasonOf } from './files.js';

/** Unpacks a compressed cluster of a qcow2 image; throws `DiskError` for what cannot be unpacked here. */
export const unpackCluster: Decompress = (kind, data, lengthBytes) => {
  if (kind === 'zstd')
    throw new DiskError('unsupported', "qcow2: clusters compressed by zstd; convert the image with 'qemu-img convert -o compression_type=zlib'");
  return inflateRawSync(data, { maxOutputLength: lengthBytes });
};

/** The host's files, for images and what they are built upon; `option` names them in messages. */
export const imageHost = (option: string): ImageHost => ({
  open: (file, only) => new HostFile(option, file, only),
  resolve: (from, name) => resolve(dirname(from), name),
  identity: identify,
  decompress: unpackCluster,
});

/** Device and number of a file, or its path where it cannot be asked. */
function identify(path: string): string {
  try {
    const { dev, ino } = statSync(path);
    return `${dev}:${ino}`;
  } catch {
    return resolve(path);
  }
}

/** Files that are open for writing, by what they are: two drives that wrote one image would destroy it. */
const written = new Set<string>();

/** A file with an image in it; `option` names it in messages. */
export class HostFile implements DiskFile {
  private readonly descriptor: number;
  private size: number;
  /** What it is, if it is written. */
  private readonly identity: string | undefined;

  constructor(option: string, path: string, readOnly: boolean) {
    try {
      this.descriptor = openSync(path, readOnly ? 'r' : 'r+');
    } catch (error) {
      throw new UsageError(`${option}: ${path}: ${reasonOf(error)}; check the path (and readonly=on, snapshot=on)`);
    }
    const stat = fstatSync(this.descriptor);
    if (!stat.isFile()) {
      closeSync(this.descriptor);
      throw new UsageError(`${option}: ${path}: not a file; a disk image is one`);
    }
    this.size = stat.size;
    if (readOnly) return;
    const identity = `${stat.dev}:${stat.ino}`;
    if (written.has(identity)) {
      closeSync(this.descriptor);
      throw new UsageError(`${option}: ${path}: another drive writes this image; give each an image of its own, or write readonly=on or snapshot=on`);
    }
    this.identity = identity;
    written.add(identity);
  }

  get sizeBytes(): number {
    return this.size;
  }

  read(offset: number, target: Uint8Array): void {
    for (let done = 0; done < target.length; ) {
      const count = readSync(this.descriptor, target, done, target.length - done, offset + done);
      if (count === 0) {
        target.fill(0, done);
        return;
      }
      done += count;
    }
  }

  write(offset: number, source: Uint8Array): void {
    for (let done = 0; done < source.length; ) done += writeSync(this.descriptor, source, done, source.length - done, offset + done);
    this.size = Math.max(this.size, offset + source.length);
  }

  readParts(offset: number, targets: readonly Uint8Array[]): void {
    this.inParts(offset, targets, readvSync, (place, target) => this.read(place, target));
  }

  writeParts(offset: number, sources: readonly Uint8Array[]): void {
    const end = this.inParts(offset, sources, writevSync, (place, source) => this.write(place, source));
    this.size = Math.max(this.size, end);
  }

  /** One call of the host for all; what it leaves (the end of a file, a full disk) is done piece by piece. Returns the end of the range. */
  private inParts(offset: number, parts: readonly Uint8Array[], all: typeof readvSync, one: (offset: number, part: Uint8Array) => void): number {
    let left = all(this.descriptor, parts, offset);
    let at = offset;
    for (const part of parts) {
      const done = Math.min(left, part.length);
      if (done < part.length) one(at + done, part.subarray(done));
      left -= done;
      at += part.length;
    }
    return at;
  }

  flush(): void {
    fdatasyncSync(this.descriptor);
  }

  truncate(sizeBytes: number): void {
    ftruncateSync(this.descriptor, sizeBytes);
    this.size = sizeBytes;
  }

  close(): void {
    if (this.identity !== undefined) written.delete(this.identity);
    closeSync(this.descriptor);
  }
}
