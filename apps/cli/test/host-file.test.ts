import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { HostFile } from '../src/host-images.js';

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
