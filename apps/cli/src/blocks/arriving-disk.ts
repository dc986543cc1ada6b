import type { Disk } from '@nestvm/disks';

/**
 * A disk of a machine that is still somewhere else, where its image is being written: it is read only until `arrive`, and then opened anew, since what an image
 * says of itself (which clusters it has, and where) may have changed since.
 */
export class ArrivingDisk implements Disk {
  private disk: Disk;
  private arrived = false;

  /** `open` opens the image; the first time for reading only. */
  constructor(private readonly open: (readOnly: boolean) => Disk) {
    this.disk = open(true);
  }

  /** The machine is here. Throws what `open` throws. */
  arrive(): void {
    if (this.arrived) return;
    this.arrived = true;
    this.disk.close();
    this.disk = this.open(false);
  }

  get sizeBytes(): number {
    return this.disk.sizeBytes;
  }

  /** What the guest is told. */
  get readOnly(): boolean {
    return false;
  }

  read(offset: number, into: Uint8Array): void {
    this.disk.read(offset, into);
  }

  write(offset: number, from: Uint8Array): void {
    this.disk.write(offset, from);
  }

  readParts(offset: number, into: readonly Uint8Array[]): void {
    const { disk } = this;
    if (disk.readParts) disk.readParts(offset, into);
    else eachPart(offset, into, (at, part) => disk.read(at, part));
  }

  writeParts(offset: number, from: readonly Uint8Array[]): void {
    const { disk } = this;
    if (disk.writeParts) disk.writeParts(offset, from);
    else eachPart(offset, from, (at, part) => disk.write(at, part));
  }

  discard(offset: number, lengthBytes: number): void {
    this.disk.discard(offset, lengthBytes);
  }

  writeZeroes(offset: number, lengthBytes: number, mayUnmap: boolean): void {
    this.disk.writeZeroes(offset, lengthBytes, mayUnmap);
  }

  flush(): void {
    this.disk.flush();
  }

  close(): void {
    this.disk.close();
  }
}

function eachPart(offset: number, parts: readonly Uint8Array[], step: (at: number, part: Uint8Array) => void): void {
  let at = offset;
  for (const part of parts) {
    step(at, part);
    at += part.length;
  }
}
