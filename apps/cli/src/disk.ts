import { closeSync, fdatasyncSync, fstatSync, ftruncateSync, openSync, readSync, statSync, writeSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { inflateRawSync } from 'node:zlib';
import { type Disk, DiskError, type DiskFile, OverlayDisk, openImage, type RemoteDisk } from '@nestvm/disks';
import { UsageError } from './errors.js';
import { reasonOf } from './files.js';
import type { DriveSpec } from './options/drives.js';
import { isRemote } from './remote-drives.js';

/** The image of a drive with all that it is built upon, opened unless it is already; throws `UsageError`. */
export function openDrive(drive: DriveSpec): Disk | RemoteDisk {
  if (drive.opened === undefined && isRemote(drive.path))
    throw new UsageError(`${drive.option}: ${drive.path}: images on web servers are opened when the machine starts; name it on the command line`);
  return drive.opened ?? openDisk(drive);
}

/** Opens the image of a drive in files of the host with all that it is built upon; throws `UsageError`. */
export function openDisk({ option, path, format, readOnly, snapshot }: DriveSpec): Disk {
  const host = {
    open: (file: string, only: boolean) => new HostFile(option, file, only),
    resolve: (from: string, name: string) => resolve(dirname(from), name),
    identity: (file: string) => identify(file),
    decompress: (kind: 'deflate' | 'zstd', data: Uint8Array, lengthBytes: number): Uint8Array => {
      if (kind === 'zstd')
        throw new DiskError('unsupported', "qcow2: clusters compressed by zstd; convert the image with 'qemu-img convert -o compression_type=zlib'");
      return inflateRawSync(data, { maxOutputLength: lengthBytes });
    },
  };
  try {
    const disk = openImage(host, path, { readOnly: readOnly || snapshot, ...(format === undefined ? {} : { format }) });
    if (disk.sizeBytes > 0) return snapshot && !readOnly ? new OverlayDisk(disk) : disk;
    disk.close();
    throw new UsageError(`${option}: the disk has no sectors; make an image with 'qemu-img create' or 'truncate -s 1G'`);
  } catch (error) {
    if (error instanceof DiskError) throw new UsageError(`${option}: ${error.message}`);
    throw error;
  }
}

/** Device and number of a file, or its path where it cannot be asked. */
function identify(path: string): string {
  try {
    const { dev, ino } = statSync(path);
    return `${dev}:${ino}`;
  } catch {
    return resolve(path);
  }
}

/** A file with an image in it; `option` names it in messages. */
class HostFile implements DiskFile {
  private readonly descriptor: number;
  private size: number;

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

  flush(): void {
    fdatasyncSync(this.descriptor);
  }

  truncate(sizeBytes: number): void {
    ftruncateSync(this.descriptor, sizeBytes);
    this.size = sizeBytes;
  }

  close(): void {
    closeSync(this.descriptor);
  }
}
