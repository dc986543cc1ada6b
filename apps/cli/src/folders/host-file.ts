import { closeSync, fchmodSync, fchownSync, fdatasyncSync, fstatSync, fsyncSync, ftruncateSync, futimesSync, readSync, writeSync } from 'node:fs';
import type { FileAttributes, FileChange, OpenFile } from '@nestvm/folders';
import { attributesOf, chosenTimes } from './attributes.js';

/** An open file of the host. */
export class HostFile implements OpenFile {
  constructor(
    private readonly descriptor: number,
    private readonly volumeOf: (device: number) => number,
  ) {}

  read(offset: number, target: Uint8Array): number {
    return readSync(this.descriptor, target, 0, target.length, offset);
  }

  write(offset: number, source: Uint8Array): number {
    let done = 0;
    while (done < source.length) done += writeSync(this.descriptor, source, done, source.length - done, offset + done);
    return done;
  }

  sync(dataOnly: boolean): void {
    (dataOnly ? fdatasyncSync : fsyncSync)(this.descriptor);
  }

  stat(): FileAttributes {
    return attributesOf(fstatSync(this.descriptor), this.volumeOf);
  }

  change(change: FileChange): void {
    const { descriptor } = this;
    const { mode, uid, gid, sizeBytes } = change;
    if (sizeBytes !== undefined) ftruncateSync(descriptor, sizeBytes);
    if (uid !== undefined || gid !== undefined) {
      const now = fstatSync(descriptor);
      fchownSync(descriptor, uid ?? now.uid, gid ?? now.gid);
    }
    if (mode !== undefined) fchmodSync(descriptor, mode);
    const times = chosenTimes(change, () => fstatSync(descriptor));
    if (times) futimesSync(descriptor, times.accessed, times.modified);
  }

  close(): void {
    closeSync(this.descriptor);
  }
}
