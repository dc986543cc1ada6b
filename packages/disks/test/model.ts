import { expect } from 'vitest';
import type { Disk } from '../src/index.js';

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

/** Does one random operation on a disk and on an array that says what it must hold. */
export function randomOperation(disk: Disk, model: Uint8Array, random: (n: number) => number, longest = 4096): void {
  const sectors = disk.sizeBytes / 512;
  const offset = random(sectors) * 512;
  const length = Math.min(random(longest / 512) * 512 + 512, disk.sizeBytes - offset);
  const kind = random(20);
  if (kind < 9) {
    const data = randomBytes(random, length);
    disk.write(offset, data);
    model.set(data, offset);
  } else if (kind < 14) {
    const data = new Uint8Array(length).fill(0xee);
    disk.read(offset, data);
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
