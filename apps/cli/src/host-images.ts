import { closeSync, fdatasyncSync, fstatSync, ftruncateSync, openSync, readSync, readvSync, statSync, writeSync, writevSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { inflateRawSync } from 'node:zlib';
import { type Decompress, DiskError, type DiskFile, type ImageHost } from '@nestvm/disks';
import { ImageLock } from './blocks/image-lock.js';
import { UsageError } from './errors.js';
import { reasonOf } from './files.js';

/** Unpacks a compressed cluster of a qcow2 image; throws `DiskError` for what cannot be unpacked here. */
export const unpackCluster: Decompress = (kind, data, lengthBytes) => {
  if (kind === 'zstd')
    throw new DiskError('unsupported', "qcow2: clusters compressed by zstd; convert the image with 'qemu-img convert -o compression_type=zlib'");
  return inflateRawSync(data, { maxOutputLength: lengthBytes });
};

/** The host's files, for images and what they are built upon; `option` names them in messages. `unlocked`: whoever else has them. */
export const imageHost = (option: string, unlocked = false): ImageHost => ({
  open: (file, only) => new HostFile(option, file, only, unlocked),
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

/** Claims on the images that this process writes. */
const written = new Set<ImageLock>();

/** The machine goes on in another process, which will want to write the images. */
export function lendImages(): void {
  for (const lock of written) lock.release();
}

/** The machine goes on here after all; false when another process has taken an image meanwhile. */
export const takeImagesBack = (): boolean => [...written].map((lock) => lock.renew()).every(Boolean);

/** A file with an image in it; `option` names it in messages. */
export class HostFile implements DiskFile {
  private readonly descriptor: number;
  private size: number;
  private readonly lock: ImageLock | undefined;

  /** `unlocked`: whoever else has it. */
  constructor(option: string, path: string, readOnly: boolean, unlocked = false) {
    try {
      this.descriptor = openSync(path, readOnly ? 'r' : 'r+');
    } catch (error) {
      throw new UsageError(`${option}: ${path}: ${reasonOf(error)}; check the path (and readonly=on, snapshot=on)`);
    }
    const stat = fstatSync(this.descriptor, { bigint: true });
    this.size = Number(stat.size);
    if (!stat.isFile()) {
      closeSync(this.descriptor);
      throw new UsageError(`${option}: ${path}: not a file; a disk image is one`);
    }
    if (unlocked) return;
    this.lock = ImageLock.take(stat, readOnly ? 'read' : 'write');
    if (!this.lock) {
      closeSync(this.descriptor);
      throw new UsageError(
        `${option}: Failed to get ${readOnly ? 'shared ' : ''}"write" lock. Is another process using the image [${path}], or another drive? Give each an image of its own; file.locking=off does not ask`,
      );
    }
    if (!readOnly) written.add(this.lock);
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
    if (this.lock) written.delete(this.lock);
    this.lock?.release();
    closeSync(this.descriptor);
  }
}
