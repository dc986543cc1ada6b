import { deflateRawSync, inflateRawSync } from 'node:zlib';
import { expect, it } from 'vitest';
import { checkQcow2, createQcow2, DiskError, MemoryFile, Qcow2Disk, RawDisk } from '../src/index.js';
import { createRandom, randomBytes } from './model.js';

const IMAGES = 100_000;
const SIZE = 64 * 1024;
const CLUSTER = 512;

/** An image of few clusters with data, zero clusters, a compressed cluster, a backing file. */
function createSeed(): Uint8Array {
  const file = new MemoryFile();
  createQcow2(file, { sizeBytes: SIZE, clusterBits: 9, backing: { name: 'below', format: 'raw' } });
  const backing = new RawDisk(new MemoryFile(SIZE), true);
  const disk = new Qcow2Disk(file, { backing });
  for (let i = 0; i < 12; i++) disk.write(i * 5 * CLUSTER, new Uint8Array(700 - (700 % 512)).fill(i + 1));
  disk.writeZeroes(20 * CLUSTER, 4 * CLUSTER, true);
  disk.close();
  const bytes = file.bytes();
  const packed = deflateRawSync(new Uint8Array(CLUSTER).fill(9));
  const all = new Uint8Array(bytes.length + CLUSTER);
  all.set(bytes);
  all.set(packed, bytes.length);
  const view = new DataView(all.buffer);
  const l1 = view.getUint32(44);
  const l2 = view.getUint32(l1 + 4);
  view.setUint32(l2 + 8 * 30, 0x40000000);
  view.setUint32(l2 + 8 * 30 + 4, bytes.length);
  return all;
}

/** Changes some bytes, mostly where tables are, or cuts the image. */
function mutate(seed: Uint8Array, random: (n: number) => number): Uint8Array {
  let bytes = seed.slice();
  const view = new DataView(bytes.buffer);
  for (let n = 1 + random(4); n > 0; n--) {
    const area = [104, 4 * CLUSTER, bytes.length][random(3)]!;
    const at = random(area);
    if (random(3) === 0) bytes[at] = random(256);
    else if (random(2)) bytes[at] = bytes[at]! ^ (1 << random(8));
    else view.setUint32(Math.min(at & ~3, bytes.length - 4), [0, 1, 512, 0xffffffff, 0x80000000, 0x200, seed.length][random(7)]!);
  }
  if (random(8) === 0) bytes = bytes.slice(0, random(bytes.length));
  return bytes;
}

it(`survives ${IMAGES} mutated images: nothing but DiskError, and no endless work`, () => {
  const seed = createSeed();
  const random = createRandom(2026);
  const into = new Uint8Array(SIZE);
  const data = randomBytes(random, 1536);
  const backing = new RawDisk(new MemoryFile(SIZE), true);
  const codes: Record<string, number> = { none: 0 };
  for (let i = 0; i < IMAGES; i++) {
    const file = new MemoryFile(mutate(seed, random));
    try {
      const disk = new Qcow2Disk(file, { backing, decompress: (_kind, packed) => inflateRawSync(packed, { maxOutputLength: CLUSTER }) });
      const size = Math.min(SIZE, disk.sizeBytes);
      disk.read(0, into.subarray(0, size));
      if (size >= 4096) {
        disk.write(random((size - 2048) / 512) * 512, data);
        disk.discard(0, 2048);
        disk.writeZeroes(2048, 1024, false);
      }
      disk.close();
      if (i % 8 === 0) checkQcow2(file);
      codes['none']!++;
    } catch (error) {
      if (!(error instanceof DiskError)) throw error;
      codes[error.code] = (codes[error.code] ?? 0) + 1;
    }
  }
  process.stderr.write(`disks: ${IMAGES} mutated images: ${JSON.stringify(codes)}\n`);
  expect(codes['none']).toBeGreaterThan(1000);
  expect(codes['bad-image']).toBeGreaterThan(1000);
  expect(codes['truncated']).toBeGreaterThan(1000);
}, 900_000);
