import type { HeldBlocks } from '@nestvm/state';
import { DiskError } from './errors.js';

/** A disk as a device sees it; offsets and lengths in bytes. Everything happens before the call returns; errors are thrown. */
export interface Disk {
  /** Capacity. */
  readonly sizeBytes: number;
  readonly readOnly: boolean;
  /** What of the disk is in memory only, so that snapshots of the machine have to carry it. Absent: nothing. */
  readonly held?: HeldBlocks | undefined;
  read(offset: number, into: Uint8Array): void;
  write(offset: number, from: Uint8Array): void;
  /** Reads a range that goes into several places, or comes from several, in one step. Absent: as well piece by piece. */
  readParts?(offset: number, into: readonly Uint8Array[]): void;
  writeParts?(offset: number, from: readonly Uint8Array[]): void;
  /** The contents of this range no longer matter: a hint. */
  discard(offset: number, lengthBytes: number): void;
  /** Makes a range read as zeros; `mayUnmap`: its space may be given back. */
  writeZeroes(offset: number, lengthBytes: number, mayUnmap: boolean): void;
  /** When this returns, all that was written before survives a crash of the host. */
  flush(): void;
  /** Flushes and lets go of the files. */
  close(): void;
}

/** A file of the host, or what stands for one: what an image is kept in. */
export interface DiskFile {
  readonly sizeBytes: number;
  /** Fills `into`; what lies past the end reads as zeros. */
  read(offset: number, into: Uint8Array): void;
  /** Writes, growing the file when needed. */
  write(offset: number, from: Uint8Array): void;
  /** The same with several pieces of memory, in one step. Absent: as well piece by piece. */
  readParts?(offset: number, into: readonly Uint8Array[]): void;
  writeParts?(offset: number, from: readonly Uint8Array[]): void;
  flush(): void;
  /** Cuts the file, or grows it by zeros. */
  truncate(sizeBytes: number): void;
  /** Gives the space of a range back, which then reads as zeros. Absent where that cannot be done. */
  punch?(offset: number, lengthBytes: number): void;
  close(): void;
}

/** Throws `DiskError` (`out-of-range`) unless the range lies on the disk. */
export function assertRange(disk: Disk, offset: number, lengthBytes: number): void {
  if (Number.isSafeInteger(offset) && offset >= 0 && lengthBytes >= 0 && offset + lengthBytes <= disk.sizeBytes) return;
  throw new DiskError(
    'out-of-range',
    `bytes ${offset}+${lengthBytes} are past the end of a disk of ${disk.sizeBytes} bytes; stay below its capacity`,
  );
}

/** Throws `DiskError` (`read-only`) when the disk may not be written. */
export function assertWritable(disk: Disk): void {
  if (disk.readOnly) throw new DiskError('read-only', 'the disk was opened for reading only; open it for writing');
}

/** Zeros to write from. */
const ZEROS = new Uint8Array(65536);

/** Writes zeros as data. */
export function writeZeroBytes(target: { write(offset: number, from: Uint8Array): void }, offset: number, lengthBytes: number): void {
  for (let at = 0; at < lengthBytes; at += ZEROS.length) {
    target.write(offset + at, ZEROS.subarray(0, Math.min(ZEROS.length, lengthBytes - at)));
  }
}

/** Bytes of several pieces. */
export const lengthOf = (parts: readonly Uint8Array[]): number => parts.reduce((sum, part) => sum + part.length, 0);

/** Pieces of `length` bytes together in one. */
export function joined(parts: readonly Uint8Array[], length: number): Uint8Array {
  if (parts.length === 1) return parts[0]!;
  const whole = new Uint8Array(length);
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}
