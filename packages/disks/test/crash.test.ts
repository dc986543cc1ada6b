import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { checkQcow2, createQcow2, type DiskFile, MemoryFile, Qcow2Disk } from '../src/index.js';
import { contents, createRandom, randomBytes } from './model.js';

type Event = { readonly kind: 'write'; readonly offset: number; readonly bytes: Uint8Array } | { readonly kind: 'truncate'; readonly size: number };

/** A file whose host may crash: knows what was flushed, and what was written since. */
class CrashFile implements DiskFile {
  readonly live = new MemoryFile();
  /** What is certainly on the disk, up to the last flush. */
  #safe = new MemoryFile();
  #since: Event[] = [];

  get sizeBytes(): number {
    return this.live.sizeBytes;
  }
  read(offset: number, into: Uint8Array): void {
    this.live.read(offset, into);
  }
  write(offset: number, from: Uint8Array): void {
    this.live.write(offset, from);
    this.#since.push({ kind: 'write', offset, bytes: from.slice() });
  }
  truncate(size: number): void {
    this.live.truncate(size);
    this.#since.push({ kind: 'truncate', size });
  }
  flush(): void {
    for (const event of this.#since) apply(this.#safe, event);
    this.#since = [];
  }
  close(): void {}

  /** The process was killed: everything up to some write has happened. */
  killed(random: (n: number) => number): MemoryFile {
    const file = new MemoryFile(this.#safe.bytes());
    for (const event of this.#since.slice(0, random(this.#since.length + 1))) apply(file, event);
    return file;
  }

  /** The power failed: of what was written since the last flush, any sectors may have got to the disk. */
  powerLost(random: (n: number) => number): MemoryFile {
    const file = new MemoryFile(this.#safe.bytes());
    for (const event of this.#since) {
      if (event.kind === 'truncate') {
        if (random(2)) apply(file, event);
        continue;
      }
      for (let at = 0; at < event.bytes.length; at += 512) {
        if (random(2)) file.write(event.offset + at, event.bytes.subarray(at, at + 512));
      }
    }
    return file;
  }
}

function apply(file: MemoryFile, event: Event): void {
  if (event.kind === 'write') file.write(event.offset, event.bytes);
  else file.truncate(event.size);
}

const SIZE = 2 ** 20;
const qemuImg = spawnSync('qemu-img', ['--version']).status === 0;

/** Writes for a while; `visit` may look at the file between any two host calls of a flush, which is when things can go wrong. */
function exercise(seed: number, clusterBits: number, visit: (file: CrashFile, flushed: Uint8Array, touched: Uint8Array) => void): void {
  const random = createRandom(seed);
  const file = new CrashFile();
  createQcow2(file, { sizeBytes: SIZE, clusterBits });
  const disk = new Qcow2Disk(file);
  const model = new Uint8Array(SIZE);
  let flushed = model.slice();
  /** Sectors that were written since the last flush. */
  const touched = new Uint8Array(SIZE / 512);
  let watching = false;
  for (const name of ['write', 'flush', 'truncate'] as const) {
    const original = file[name].bind(file) as (...args: unknown[]) => void;
    (file as unknown as Record<string, unknown>)[name] = (...args: unknown[]) => {
      if (watching) visit(file, flushed, touched);
      original(...args);
    };
  }
  for (let i = 0; i < 40; i++) {
    const offset = random(SIZE / 512) * 512;
    const length = Math.min(SIZE - offset, 512 * (1 + random(64)));
    const data = random(4) === 0 ? new Uint8Array(length) : randomBytes(random, length);
    watching = random(3) === 0;
    model.set(data, offset);
    touched.fill(1, offset / 512, (offset + length) / 512);
    if (data[0] === 0) disk.writeZeroes(offset, length, random(2) === 0);
    else disk.write(offset, data);
    if (random(4) === 0) {
      watching = true;
      disk.flush();
      flushed = model.slice();
      touched.fill(0);
    }
    visit(file, flushed, touched);
  }
}

/** A sound image in which each sector that was not written since the last flush is as it was then. */
function judge(file: MemoryFile, flushed: Uint8Array, touched: Uint8Array): void {
  expect(checkQcow2(file).errors).toEqual([]);
  const disk = new Qcow2Disk(file);
  const found = contents(disk);
  for (let at = 0; at < SIZE; at += 512) {
    if (touched[at / 512] === 1 || Buffer.compare(found.subarray(at, at + 512), flushed.subarray(at, at + 512)) === 0) continue;
    throw new Error(`the sector at ${at} was flushed and is lost`);
  }
  disk.write(0, new Uint8Array(4096).fill(7));
  disk.close();
  expect(checkQcow2(file).errors).toEqual([]);
}

it('is sound wherever the process is killed', () => {
  const random = createRandom(99);
  let kills = 0;
  for (let seed = 1; seed <= 12; seed++) {
    exercise(seed, seed % 2 ? 9 : 12, (file, flushed, touched) => {
      if (random(12)) return;
      kills++;
      judge(file.killed(random), flushed, touched);
    });
  }
  process.stderr.write(`disks: ${kills} kills\n`);
  expect(kills).toBeGreaterThan(200);
}, 900_000);

it('is sound wherever the power fails', () => {
  const random = createRandom(77);
  const folder = mkdtempSync(join(tmpdir(), 'nestvm-crash-'));
  let losses = 0;
  for (let seed = 21; seed <= 32; seed++) {
    exercise(seed, seed % 2 ? 9 : 12, (file, flushed, touched) => {
      if (random(12)) return;
      losses++;
      const left = file.powerLost(random);
      if (qemuImg && losses % 50 === 0) {
        writeFileSync(join(folder, 'x.qcow2'), left.bytes());
        // 0: sound; 3: sound, with clusters that nobody uses.
        expect([0, 3]).toContain(spawnSync('qemu-img', ['check', '-q', '-f', 'qcow2', join(folder, 'x.qcow2')]).status);
      }
      judge(left, flushed, touched);
    });
  }
  rmSync(folder, { recursive: true });
  process.stderr.write(`disks: ${losses} power failures\n`);
  expect(losses).toBeGreaterThan(200);
}, 900_000);
