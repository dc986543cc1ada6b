import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { inflateRawSync } from 'node:zlib';
import { afterAll, describe, expect, it } from 'vitest';
import { checkQcow2, MemoryFile, Qcow2Disk, RawDisk } from '../src/index.js';
import { contents, createRandom, randomBytes, randomOperation } from './model.js';

const present = spawnSync('qemu-img', ['--version']).status === 0;
if (!present) process.stderr.write('SKIPPED: qemu-img is not installed (Debian: qemu-utils); our qcow2 was not compared with QEMU’s\n');

const folder = mkdtempSync(join(tmpdir(), 'nestvm-disks-'));
afterAll(() => rmSync(folder, { recursive: true }));
const path = (name: string): string => join(folder, name);

const qemuImg = (...args: string[]): void => {
  const { status, stdout, stderr } = spawnSync('qemu-img', args, { cwd: folder, encoding: 'utf8' });
  if (status !== 0) throw new Error(`qemu-img ${args.join(' ')}: ${stdout}${stderr}`);
};

const load = (name: string): MemoryFile => new MemoryFile(readFileSync(path(name)));
const store = (name: string, file: MemoryFile): void => writeFileSync(path(name), file.bytes());
const decompress = (_kind: string, data: Uint8Array): Uint8Array => inflateRawSync(data);

const SIZE = 3 * 2 ** 20;

describe.skipIf(!present)('beside qemu-img', () => {
  it.each([
    ['compat=0.10', 16],
    ['compat=1.1', 16],
    ['compat=1.1,cluster_size=512', 16],
    ['compat=1.1,cluster_size=4k,refcount_bits=1', 1],
    ['compat=1.1,cluster_size=4k,refcount_bits=8', 8],
    ['compat=1.1,cluster_size=512,refcount_bits=64', 64],
    ['compat=1.1,cluster_size=2M,refcount_bits=32', 32],
    ['compat=1.1,preallocation=metadata', 16],
    ['compat=1.1,lazy_refcounts=on,cluster_size=1k', 16],
  ])('writes images (%s) that qemu-img finds sound and equal to the model', (options, bits) => {
    const random = createRandom(bits + options.length);
    qemuImg('create', '-q', '-f', 'qcow2', '-o', options, 'a.qcow2', String(SIZE));
    const model = new Uint8Array(SIZE);
    for (let round = 0; round < 3; round++) {
      const file = load('a.qcow2');
      const disk = new Qcow2Disk(file);
      for (let i = 0; i < 120; i++) randomOperation(disk, model, random, 65_536);
      disk.close();
      store('a.qcow2', file);
      writeFileSync(path('a.raw'), model);
      qemuImg('check', '-q', '-f', 'qcow2', 'a.qcow2');
      qemuImg('compare', '-q', '-f', 'qcow2', '-F', 'raw', 'a.qcow2', 'a.raw');
      expect(checkQcow2(file)).toEqual({ errors: [], leakedClusters: 0 });
    }
  });

  it('reads and rewrites compressed clusters', () => {
    const random = createRandom(4);
    const model = new Uint8Array(SIZE).map((_, i) => (i >> 12) * 7);
    model.set(randomBytes(random, 200_000), 1_000_000);
    writeFileSync(path('c.raw'), model);
    for (const cluster of ['4k', '64k', '2M']) {
      qemuImg('convert', '-q', '-c', '-f', 'raw', '-O', 'qcow2', '-o', `cluster_size=${cluster}`, 'c.raw', 'c.qcow2');
      const file = load('c.qcow2');
      const disk = new Qcow2Disk(file, { decompress });
      expect(Buffer.compare(contents(disk), model)).toBe(0);
      const changed = model.slice();
      for (let i = 0; i < 100; i++) randomOperation(disk, changed, random, 16_384);
      disk.close();
      store('c.qcow2', file);
      writeFileSync(path('c2.raw'), changed);
      qemuImg('check', '-q', '-f', 'qcow2', 'c.qcow2');
      qemuImg('compare', '-q', '-f', 'qcow2', '-F', 'raw', 'c.qcow2', 'c2.raw');
    }
  });

  it('leaves the snapshots inside of an image as they are', () => {
    const random = createRandom(8);
    const before = new Uint8Array(SIZE);
    qemuImg('create', '-q', '-f', 'qcow2', '-o', 'cluster_size=4k', 's.qcow2', String(SIZE));
    const first = load('s.qcow2');
    const disk = new Qcow2Disk(first);
    for (let i = 0; i < 200; i++) randomOperation(disk, before, random, 32_768);
    disk.close();
    store('s.qcow2', first);
    qemuImg('snapshot', '-c', 'one', 's.qcow2');
    const file = load('s.qcow2');
    const after = before.slice();
    const again = new Qcow2Disk(file);
    for (let i = 0; i < 200; i++) randomOperation(again, after, random, 32_768);
    again.close();
    expect(checkQcow2(file)).toEqual({ errors: [], leakedClusters: 0 });
    store('s.qcow2', file);
    qemuImg('check', '-q', '-f', 'qcow2', 's.qcow2');
    writeFileSync(path('s.raw'), after);
    qemuImg('compare', '-q', '-f', 'qcow2', '-F', 'raw', 's.qcow2', 's.raw');
    qemuImg('snapshot', '-a', 'one', 's.qcow2');
    writeFileSync(path('s.raw'), before);
    qemuImg('compare', '-q', '-f', 'qcow2', '-F', 'raw', 's.qcow2', 's.raw');
  });

  it('builds upon a backing file as qemu-img does', () => {
    const random = createRandom(12);
    const below = randomBytes(random, SIZE - 40_960);
    writeFileSync(path('b.raw'), below);
    for (const compat of ['0.10', '1.1']) {
      qemuImg('create', '-q', '-f', 'qcow2', '-o', `compat=${compat}`, '-b', 'b.raw', '-F', 'raw', 'o.qcow2', String(SIZE));
      const file = load('o.qcow2');
      const model = new Uint8Array(SIZE);
      model.set(below);
      const disk = new Qcow2Disk(file, { backing: new RawDisk(load('b.raw'), true) });
      expect(disk.header.backingName).toBe('b.raw');
      expect(disk.header.backingFormat).toBe('raw');
      for (let i = 0; i < 200; i++) randomOperation(disk, model, random, 65_536);
      disk.close();
      store('o.qcow2', file);
      writeFileSync(path('o.raw'), model);
      qemuImg('check', '-q', '-f', 'qcow2', 'o.qcow2');
      qemuImg('compare', '-q', '-f', 'qcow2', '-F', 'raw', 'o.qcow2', 'o.raw');
    }
  });
});
