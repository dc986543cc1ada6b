import { closeSync, fdatasyncSync, fstatSync, openSync, readSync, writeSync } from 'node:fs';
import type { BlockBackend } from '@nestvm/devices/virtio';
import { UsageError } from './errors.js';
import { reasonOf } from './files.js';

const SECTOR_BYTES = 512;

/** A raw disk image in a file; `option` names it in messages. */
export class FileDisk implements BlockBackend {
  readonly sizeBytes: number;
  readonly readOnly: boolean;
  private readonly descriptor: number;

  constructor(option: string, path: string, readOnly: boolean) {
    this.readOnly = readOnly;
    try {
      this.descriptor = openSync(path, readOnly ? 'r' : 'r+');
    } catch (error) {
      throw new UsageError(`${option}: ${reasonOf(error)}; check the path (and readonly=on, snapshot=on)`);
    }
    const stat = fstatSync(this.descriptor);
    if (!stat.isFile() || stat.size % SECTOR_BYTES !== 0 || stat.size === 0) {
      closeSync(this.descriptor);
      throw new UsageError(`${option}: not a disk image: a file of ${stat.size} bytes; a raw image is one or more sectors of ${SECTOR_BYTES}`);
    }
    this.sizeBytes = stat.size;
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
  }

  flush(): void {
    fdatasyncSync(this.descriptor);
  }

  close(): void {
    closeSync(this.descriptor);
  }
}
