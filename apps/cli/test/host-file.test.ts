import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { HostFile, lendImages, takeImagesBack } from '../src/host-images.js';
import { nestvm, start } from './spawn.js';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'nestvm-file-'));
});
afterEach(() => rmSync(folder, { recursive: true }));

const bytes = (length: number, first: number): Uint8Array => Uint8Array.from({ length }, (_, i) => first + i);

it('reads and writes several pieces at once, past the end too', () => {
  const path = join(folder, 'image');
  writeFileSync(path, bytes(10, 0));
  const file = new HostFile('-drive', path, false);
  const parts = [new Uint8Array(3), new Uint8Array(4).fill(9), new Uint8Array(0), new Uint8Array(5).fill(9)];
  file.readParts(2, parts);
  expect(parts.map((part) => [...part])).toEqual([[2, 3, 4], [5, 6, 7, 8], [], [9, 0, 0, 0, 0]]);
  file.writeParts(8, [bytes(3, 100), bytes(2, 200)]);
  expect(file.sizeBytes).toBe(13);
  const many = Array.from({ length: 1500 }, (_, i) => Uint8Array.of(i & 255, i >> 8));
  file.writeParts(13, many);
  const back = many.map(() => new Uint8Array(2));
  file.readParts(13, back);
  expect(back).toEqual(many);
  file.close();
  expect([...readFileSync(path).subarray(0, 13)]).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 100, 101, 102, 200, 201]);
});

it.runIf(process.platform === 'linux')('lends the images of a machine that goes on elsewhere, and notices when they were taken', () => {
  const path = join(folder, 'lent');
  writeFileSync(path, bytes(10, 0));
  const file = new HostFile('-drive', path, false);
  expect(() => new HostFile('-drive', path, true)).toThrow(/Failed to get shared "write" lock. Is another process using the image/);
  lendImages();
  const taker = new HostFile('-drive', path, false);
  expect(takeImagesBack()).toBe(false);
  taker.close();
  expect(takeImagesBack()).toBe(true);
  expect(() => new HostFile('-drive', path, false)).toThrow(/Failed to get "write" lock/);
  new HostFile('-drive', path, false, true).close();
  file.close();
  new HostFile('-drive', path, false).close();
});

it.runIf(process.platform === 'linux')(
  'two processes do not write one image, unless nobody asks; a killed one keeps nothing',
  { timeout: 60_000 },
  async () => {
    const path = join(folder, 'disk');
    writeFileSync(path, new Uint8Array(4096));
    const run = (drive: string): string[] => [
      'run',
      '-display',
      'none',
      '-S',
      '-monitor',
      'stdio',
      '-serial',
      'none',
      '-drive',
      `format=raw,file=${path}${drive}`,
    ];
    const holder = start(...run(''));
    await holder.waitFor('(nestvm)');
    const refused = await nestvm(...run(',snapshot=on'));
    expect([refused.status, refused.err]).toEqual([2, expect.stringMatching(/^nestvm: -drive [^\n]*Failed to get shared "write" lock[^\n]*\n$/)]);
    for (const [drive, status] of [
      ['', 2],
      [',file.locking=off', 0],
      [',readonly=on,force-share=on', 0],
    ] as const) {
      const other = start(...run(drive));
      other.child.stdin!.end('quit\n');
      expect([drive, (await other.ended).status]).toEqual([drive, status]);
    }
    holder.child.kill('SIGKILL');
    await holder.ended;
    const next = start(...run(''));
    next.child.stdin!.end('quit\n');
    expect((await next.ended).status).toBe(0);
  },
);
