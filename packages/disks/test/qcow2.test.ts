import { describe, expect, it } from 'vitest';
import { checkQcow2, createQcow2, MemoryFile, OverlayDisk, Qcow2Disk, RawDisk } from '../src/index.js';
import { contents, createRandom, PartsFile, randomBytes, randomOperation } from './model.js';

const SIZE = 300 * 512;

describe.each([
  { version: 2, clusterBits: 9, below: 0 },
  { version: 2, clusterBits: 12, below: SIZE },
  { version: 3, clusterBits: 9, below: SIZE - 5120 },
  { version: 3, clusterBits: 10, below: 0 },
  { version: 3, clusterBits: 16, below: SIZE },
] as const)('a qcow2 disk, version $version, clusters of 2^$clusterBits bytes, $below bytes of backing', ({ version, clusterBits, below }) => {
  it('holds what was written, across closing and opening, and stays sound', () => {
    const random = createRandom(clusterBits * 7 + below);
    const model = new Uint8Array(SIZE);
    const backing = below === 0 ? undefined : new RawDisk(new MemoryFile(randomBytes(random, below)), true);
    backing?.read(0, model.subarray(0, below));
    const file = new PartsFile();
    createQcow2(file, { sizeBytes: SIZE, clusterBits, version, ...(backing ? { backing: { name: 'below', format: 'raw' } } : {}) });
    for (let round = 0; round < 12; round++) {
      const disk = new Qcow2Disk(file, backing ? { backing } : {});
      for (let i = 0; i < 150; i++) randomOperation(disk, model, random);
      expect(Buffer.compare(contents(disk), model)).toBe(0);
      disk.close();
      expect(checkQcow2(file)).toEqual({ errors: [], leakedClusters: 0 });
    }
  });
});

it('passes pieces on to the file where clusters follow each other, and fills new clusters at once', () => {
  const file = new PartsFile();
  let belowReads = 0;
  class Below extends RawDisk {
    override read(): void {
      belowReads++;
    }
  }
  const below = new Below(new MemoryFile(2 ** 20), true);
  createQcow2(file, { sizeBytes: 2 ** 20, backing: { name: 'below', format: 'raw' } });
  const disk = new Qcow2Disk(file, { backing: below });
  const parts = (seed: number) => Array.from({ length: 32 }, (_, i) => new Uint8Array(4096).fill(seed + i));
  disk.writeParts(0x1_0000, parts(1));
  expect([belowReads, file.writes]).toEqual([0, 0]);
  disk.writeParts(0x1_0000, parts(50));
  expect(file.writes).toBe(1);
  const back = parts(0);
  disk.readParts(0x1_0000, back);
  expect([back, file.reads]).toEqual([parts(50), 1]);
  expect(() => disk.readParts(2 ** 20 - 4096, back)).toThrow(/past the end/);
  disk.close();
  expect(checkQcow2(file).errors).toEqual([]);
});

it('lays the refcount table out anew when it is full', () => {
  const file = new MemoryFile();
  // A table of one 512-byte cluster covers 64 blocks of 256 clusters: 8 MiB of file.
  createQcow2(file, { sizeBytes: 20 * 2 ** 20, clusterBits: 9 });
  const disk = new Qcow2Disk(file);
  const data = new Uint8Array(20 * 2 ** 20).map((_, i) => (i >> 9) + i + 1);
  for (let at = 0; at < data.length; at += 2 ** 16) disk.write(at, data.subarray(at, at + 2 ** 16));
  disk.close();
  expect(checkQcow2(file)).toEqual({ errors: [], leakedClusters: 0 });
  expect(Buffer.compare(contents(new Qcow2Disk(file)), data)).toBe(0);
});

it('gives space back and uses it again', () => {
  const file = new MemoryFile();
  createQcow2(file, { sizeBytes: 2 ** 20, clusterBits: 12 });
  const disk = new Qcow2Disk(file);
  const data = randomBytes(createRandom(9), 2 ** 20);
  disk.write(0, data);
  disk.flush();
  const grown = file.sizeBytes;
  for (let i = 0; i < 5; i++) {
    disk.discard(0, 2 ** 20);
    disk.flush();
    disk.write(0, data);
    disk.flush();
  }
  disk.close();
  expect(file.sizeBytes).toBe(grown);
  expect(checkQcow2(file).leakedClusters).toBe(0);
});

it('counts references anew when the image was not closed', () => {
  const file = new MemoryFile();
  createQcow2(file, { sizeBytes: 2 ** 20, clusterBits: 12 });
  const disk = new Qcow2Disk(file);
  disk.write(4096, randomBytes(createRandom(1), 300_000));
  disk.close();
  // Dirty, with counts that are too low.
  file.write(79, Uint8Array.of(1));
  file.write(2 * 4096 + 10, new Uint8Array(40));
  expect(checkQcow2(file).errors.length).toBeGreaterThan(0);
  expect(new Qcow2Disk(file, { readOnly: true }).header.dirty).toBe(true);
  new Qcow2Disk(file).close();
  expect(checkQcow2(file)).toEqual({ errors: [], leakedClusters: 0 });
  expect(new Qcow2Disk(file).header.dirty).toBe(false);
});

it('clears the bits of features that it does not keep up, at the first write', () => {
  const file = new MemoryFile();
  createQcow2(file, { sizeBytes: 2 ** 20 });
  file.write(95, Uint8Array.of(1));
  const disk = new Qcow2Disk(file);
  expect(new Qcow2Disk(file, { readOnly: true }).header.autoclear).toBe(true);
  disk.write(0, new Uint8Array(512));
  expect(new Qcow2Disk(file, { readOnly: true }).header.autoclear).toBe(false);
});

it('refuses writes to what is read-only, and accesses past the end', () => {
  const file = new MemoryFile();
  createQcow2(file, { sizeBytes: 2 ** 20 });
  const disk = new Qcow2Disk(file, { readOnly: true });
  expect(() => disk.write(0, new Uint8Array(512))).toThrow(expect.objectContaining({ code: 'read-only' }));
  expect(() => disk.read(2 ** 20 - 512, new Uint8Array(1024))).toThrow(expect.objectContaining({ code: 'out-of-range' }));
});

it('keeps what is written above a disk in memory', () => {
  const random = createRandom(77);
  const model = randomBytes(random, SIZE);
  const below = new RawDisk(new MemoryFile(model.slice()), true);
  const disk = new OverlayDisk(below);
  const before = model.slice();
  for (let i = 0; i < 600; i++) randomOperation(disk, model, random, 20_000 - (20_000 % 512));
  expect(Buffer.compare(contents(disk), model)).toBe(0);
  expect(Buffer.compare(contents(below), before)).toBe(0);
});
