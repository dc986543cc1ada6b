import { inflateRawSync } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import { createQcow2, DiskError, type ImageHost, MemoryFile, openImage } from '../src/index.js';
import { createRandom, randomBytes } from './model.js';

/** Files in memory under names; none is ever really closed. */
function createHost(files: Record<string, MemoryFile>): ImageHost & { closed: string[] } {
  const closed: string[] = [];
  return {
    closed,
    open(path) {
      const file = files[path];
      if (!file) throw new Error(`${path}: no such file`);
      return new Proxy(file, {
        get: (target, key) => {
          if (key === 'close') return () => closed.push(path);
          const value: unknown = Reflect.get(target, key, target);
          return typeof value === 'function' ? (value as () => void).bind(target) : value;
        },
      });
    },
    resolve: (_from, name) => name,
    identity: (path) => path,
    decompress: (_kind, data) => inflateRawSync(data),
  };
}

const qcow2 = (name?: string, format: 'raw' | 'qcow2' = 'qcow2'): MemoryFile => {
  const file = new MemoryFile();
  createQcow2(file, { sizeBytes: 2 ** 20, ...(name === undefined ? {} : { backing: { name, format } }) });
  return file;
};

const codeOf = (run: () => unknown): string => {
  try {
    run();
  } catch (error) {
    if (error instanceof DiskError) return error.code;
    throw error;
  }
  return 'none';
};

describe('openImage', () => {
  it('reads through a chain to its end', () => {
    const data = randomBytes(createRandom(5), 2 ** 20);
    const host = createHost({ top: qcow2('middle'), middle: qcow2('base', 'raw'), base: new MemoryFile(data) });
    const disk = openImage(host, 'top');
    const all = new Uint8Array(2 ** 20);
    disk.read(0, all);
    expect(Buffer.compare(all, data)).toBe(0);
    disk.close();
    expect(host.closed).toEqual(['top', 'middle', 'base']);
  });

  it('names a cycle, and closes what it opened', () => {
    const host = createHost({ a: qcow2('b'), b: qcow2('a') });
    expect(() => openImage(host, 'a')).toThrow(/^a: this image is its own backing file/);
    expect(codeOf(() => openImage(host, 'a'))).toBe('cyclic');
    expect(host.closed.sort()).toEqual(['a', 'a', 'b', 'b']);
  });

  it('refuses a chain without end', () => {
    const files: Record<string, MemoryFile> = {};
    for (let i = 0; i < 300; i++) files[`f${i}`] = qcow2(`f${i + 1}`);
    expect(codeOf(() => openImage(createHost(files), 'f0'))).toBe('cyclic');
  });

  it('names the file of a damaged image', () => {
    const broken = qcow2();
    broken.truncate(70);
    expect(() => openImage(createHost({ top: qcow2('broken'), broken }), 'top')).toThrow(/^broken: qcow2: 70 bytes are too few/);
  });

  it.each([
    ['cut before its tables', 'truncated', (f: MemoryFile) => f.truncate(70_000)],
    ['of version 1', 'unsupported', (f: MemoryFile) => f.write(7, Uint8Array.of(1))],
    ['encrypted', 'unsupported', (f: MemoryFile) => f.write(35, Uint8Array.of(1))],
    ['with an external data file', 'unsupported', (f: MemoryFile) => f.write(79, Uint8Array.of(4))],
    ['with extended L2 entries', 'unsupported', (f: MemoryFile) => f.write(79, Uint8Array.of(16))],
    ['with a feature that nobody knows', 'unsupported', (f: MemoryFile) => f.write(72, Uint8Array.of(1))],
    ['marked corrupt', 'bad-image', (f: MemoryFile) => f.write(79, Uint8Array.of(2))],
    ['with tiny clusters', 'bad-image', (f: MemoryFile) => f.write(23, Uint8Array.of(8))],
    ['with too small an L1 table', 'bad-image', (f: MemoryFile) => f.write(24, Uint8Array.of(0, 0, 0xff))],
    ['with an L1 table in the middle of a cluster', 'bad-image', (f: MemoryFile) => f.write(47, Uint8Array.of(8))],
    ['with a backing name that is too long', 'bad-image', (f: MemoryFile) => f.write(14, Uint8Array.of(1, 0, 0, 0, 0xff, 0))],
  ])('says of an image %s: %s', (_what, code, damage) => {
    const file = qcow2();
    damage(file);
    expect(codeOf(() => openImage(createHost({ file }), 'file', { format: 'qcow2' }))).toBe(code);
  });

  it.each([
    ['VMDK', 'KDMV'],
    ['VHDX', 'vhdxfile'],
    ['VDI', `${'<<< Oracle VM VirtualBox Disk Image >>>'.padEnd(64, '\0')}\x7f\x10\xda\xbe`],
  ])('tells a %s image from plain sectors, unless it is to be taken as it is', (name, start) => {
    const file = new MemoryFile();
    file.write(
      0,
      Uint8Array.from({ length: 1024 }, (_, i) => start.charCodeAt(i) || 0),
    );
    const host = createHost({ image: file });
    expect(() => openImage(host, 'image')).toThrow(`image: a ${name} image; there are raw and qcow2`);
    expect(host.closed).toEqual(['image']);
    expect(openImage(host, 'image', { format: 'raw' }).sizeBytes).toBe(1024);
  });

  it('says which file is too short when data is missing', () => {
    const file = qcow2();
    openImage(createHost({ file }), 'file').write(0, new Uint8Array(512).fill(1));
    const disk = openImage(createHost({ file }), 'file');
    disk.write(2 ** 19, new Uint8Array(512).fill(1));
    disk.flush();
    file.truncate(file.sizeBytes - 65536);
    expect(codeOf(() => openImage(createHost({ file }), 'file').read(0, new Uint8Array(2 ** 20)))).toBe('truncated');
  });
});
