import { assertRange, assertWritable, type Disk, type DiskFile, lengthOf, writeZeroBytes } from './disk.js';

/** Smallest unit of a disk. */
const SECTOR = 512;

/** A disk whose bytes are those of a file. A last sector that the file only begins reads as zeros from there. */
export class RawDisk implements Disk {
  readonly sizeBytes: number;
  readonly readParts?: (offset: number, into: readonly Uint8Array[]) => void;
  readonly writeParts?: (offset: number, from: readonly Uint8Array[]) => void;

  constructor(
    private readonly file: DiskFile,
    readonly readOnly = false,
  ) {
    this.sizeBytes = Math.ceil(file.sizeBytes / SECTOR) * SECTOR;
    if (file.readParts) {
      this.readParts = (offset, into) => {
        assertRange(this, offset, lengthOf(into));
        file.readParts!(offset, into);
      };
    }
    if (file.writeParts) {
      this.writeParts = (offset, from) => {
        assertWritable(this);
        assertRange(this, offset, lengthOf(from));
        file.writeParts!(offset, from);
      };
    }
  }

  read(offset: number, into: Uint8Array): void {
    assertRange(this, offset, into.length);
    this.file.read(offset, into);
  }

  write(offset: number, from: Uint8Array): void {
    assertWritable(this);
    assertRange(this, offset, from.length);
    this.file.write(offset, from);
  }

  discard(offset: number, lengthBytes: number): void {
    assertWritable(this);
    assertRange(this, offset, lengthBytes);
    if (lengthBytes > 0) this.file.punch?.(offset, lengthBytes);
  }

  writeZeroes(offset: number, lengthBytes: number, mayUnmap: boolean): void {
    assertWritable(this);
    assertRange(this, offset, lengthBytes);
    if (lengthBytes === 0) return;
    if (mayUnmap && this.file.punch) this.file.punch(offset, lengthBytes);
    else writeZeroBytes(this.file, offset, lengthBytes);
  }

  flush(): void {
    if (!this.readOnly) this.file.flush();
  }

  close(): void {
    this.flush();
    this.file.close();
  }
}
