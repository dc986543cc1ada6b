import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, readlinkSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { ByteSink } from '@nestvm/migration';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { UsageError } from '../errors.js';
import { readingFile, writeWhole } from './file.js';

const readlinkOf = (path: string): string | undefined => {
  try {
    return readlinkSync(path);
  } catch {
    return undefined;
  }
};

const text = (sink: ByteSink): Promise<void> => sink.write(new TextEncoder().encode('whole'));

describe('files that are written as a whole', () => {
  let folder = '';
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'nestvm-file-'));
  });
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  it('take the place of what was there, unless something fails', async () => {
    const path = join(folder, 'saved');
    writeFileSync(path, 'before');
    await expect(writeWhole(path, () => Promise.reject(new Error('no')))).rejects.toThrow('no');
    expect([readFileSync(path, 'utf8'), readdirSync(folder)]).toEqual(['before', ['saved']]);
    await writeWhole(path, text);
    expect([readFileSync(path, 'utf8'), readdirSync(folder)]).toEqual(['whole', ['saved']]);
  });

  it.skipIf(!existsSync('/dev/null'))('never take the place of a device', async () => {
    await writeWhole('/dev/null', text);
    expect(statSync('/dev/null').isCharacterDevice()).toBe(true);
  });

  it.skipIf(process.platform === 'win32')('are no pipes', async () => {
    const pipe = join(folder, 'pipe');
    execFileSync('mkfifo', [pipe]);
    await expect(writeWhole(pipe, text)).rejects.toThrow(new UsageError(`${pipe}: neither a file nor a device; choose another file`));
  });
});

describe('files that are read', () => {
  let folder = '';
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'nestvm-file-'));
  });
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  it.skipIf(!existsSync('/proc/self/fd'))('are closed, whether all of them was read or not', async () => {
    const path = join(folder, 'saved');
    writeFileSync(path, 'whole');
    const isOpen = (): boolean => readdirSync('/proc/self/fd').some((fd) => readlinkOf(`/proc/self/fd/${fd}`) === path);
    const first = await readingFile('loadvm', path, async (open) => {
      open();
      expect(isOpen()).toBe(true);
      return (await open().read(3)).length;
    });
    expect([first, isOpen()]).toEqual([3, false]);
    await expect(readingFile('loadvm', path, (open) => Promise.reject(new Error(typeof open())))).rejects.toThrow('object');
    expect(isOpen()).toBe(false);
  });

  it('are refused by name when they are none', async () => {
    const read = (path: string): Promise<Uint8Array> => readingFile('loadvm', path, (open) => open().read(1));
    await expect(read(folder)).rejects.toThrow(new UsageError(`loadvm ${folder}: a directory, not a file; check the path`));
    await expect(read(join(folder, 'none'))).rejects.toThrow(/loadvm .*none: no such file.*; check the path/);
    if (process.platform === 'win32') return;
    const pipe = join(folder, 'pipe');
    execFileSync('mkfifo', [pipe]);
    await expect(read(pipe)).rejects.toThrow(new UsageError(`loadvm ${pipe}: a pipe, not a file; check the path`));
    if (existsSync('/proc/self/mem')) await expect(read('/proc/self/mem')).rejects.toBeInstanceOf(UsageError);
  });
});
