import { expect } from 'vitest';
import { type Disk, MemoryFile } from '../src/index.js';

/** A repeatable source of numbers below `n`. */
export function createRandom(seed: number): (n: number) => number {
  let state = seed >>> 0 || 1;
  return (n) => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) % n;
  };
}

/** Random bytes, never all zero. */
export function randomBytes(random: (n: number) => number, length: number): Uint8Array {
  return Uint8Array.from({ length }, () => random(255) + 1);
}

/** A file that takes several pieces at once, and counts how often. */
export class PartsFile extends MemoryFile {
  reads = 0;
  writes = 0;

  readParts(offset: number, into: readonly Uint8Array[]): void {
    this.reads++;
    eachPart(offset, into, (at, part) => this.read(at, part));
  }

  writeParts(offset: number, from: readonly Uint8Array[]): void {
    this.writes++;
    eachPart(offset, from, (at, part) => this.write(at, part));
  }
}

function eachPart(offset: number, parts: readonly Uint8Array[], step: (at: number, part: Uint8Array) => void): void {
  let at = offset;
  for (const part of parts) {
    step(at, part);
    at += part.length;
  }
}

/** The same bytes in pieces. */
function pieces(bytes: Uint8Array, random: (n: number) => number): Uint8Array[] {
  const first = random(bytes.length + 1);
  const second = first + random(bytes.length - first + 1);
  return [bytes.subarray(0, first), bytes.subarray(first, second), bytes.subarray(second)];
}

/** Does one random operation on a disk and on an array that says what it must hold. */
export function randomOperation(disk: Disk, model: Uint8Array, random: (n: number) => number, longest = 4096): void {
  const sectors = disk.sizeBytes / 512;
  const offset = random(sectors) * 512;
  const length = Math.min(random(longest / 512) * 512 + 512, disk.sizeBytes - offset);
  const kind = random(20);
  if (kind < 9) {
    const data = randomBytes(random, length);
    if (kind < 3 && disk.writeParts) disk.writeParts(offset, pieces(data, random));
    else disk.write(offset, data);
    model.set(data, offset);
  } else if (kind < 14) {
    const data = new Uint8Array(length).fill(0xee);
    if (kind < 11 && disk.readParts) disk.readParts(offset, pieces(data, random));
    else disk.read(offset, data);
    expect(Buffer.compare(data, model.subarray(offset, offset + length))).toBe(0);
  } else if (kind < 16) {
    disk.writeZeroes(offset, length, kind === 14);
    model.fill(0, offset, offset + length);
  } else if (kind === 16) {
    // What a discarded range reads as is the disk's choice.
    disk.discard(offset, length);
    disk.read(offset, model.subarray(offset, offset + length));
  } else if (kind === 17) disk.flush();
}

/** The whole contents of a disk. */
export function contents(disk: Disk): Uint8Array {
  const all = new Uint8Array(disk.sizeBytes);
  disk.read(0, all);
  return all;
}
