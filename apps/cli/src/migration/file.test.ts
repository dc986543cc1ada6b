import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { ByteSink } from '@nestvm/migration';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { UsageError } from '../errors.js';
import { writeWhole } from './file.js';

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
