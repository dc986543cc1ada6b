import { afterEach, expect, test, vi } from 'vitest';
import { byTables, crc32 } from './checksum.js';
import { DENSE, Folding, SPARSE } from './folding.js';

const ascii = new TextEncoder();
const noise = new Uint8Array(400_000);
for (let i = 0, seed = 1; i < noise.length; i++) {
  seed = (Math.imul(seed, 1103515245) + 12345) | 0;
  noise[i] = seed >>> 16;
}

afterEach(() => {
  vi.unstubAllGlobals();
  vi.resetModules();
});

test('the check value of CRC-32', () => {
  expect(crc32(ascii.encode('123456789'))).toBe(0xcbf4_3926);
  // One bit at a time, as the standard has it.
  const message = noise.subarray(0, 5000);
  let crc = -1;
  for (const byte of message) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0xedb8_8320 : crc >>> 1;
  }
  expect(crc32(message)).toBe(~crc >>> 0);
});

test('long messages, which are folded, have the same checksum, wherever they lie and whatever comes before them', () => {
  const edges = [1024, 3247, 3248, 3312, 3313, 4096, 65_536 - 1, 65_536, 65_536 + 3311, 65_536 + 3312, 65_536 + 3313, 131_072, 200_001, 399_990];
  for (const [i, length] of [...edges, ...edges.map((edge) => edge + 7)].entries()) {
    const message = noise.subarray(i % 9, Math.min(noise.length, length + (i % 9)));
    expect(crc32(message, i * 0x0765_4321)).toBe(byTables(message, i * 0x0765_4321));
  }
  expect(crc32(noise.subarray(70_000), crc32(noise.subarray(0, 70_000)))).toBe(crc32(noise));
});

test('what is folded is short, and a changed bit changes it', () => {
  const folding = new Folding();
  expect(folding.shorten(noise, 0).length).toBeLessThan(700);
  for (const at of [0, 5000, 70_000, noise.length - 1]) {
    const changed = noise.slice();
    changed[at]! ^= 0x10;
    expect(crc32(changed)).not.toBe(crc32(noise));
  }
  for (const { lags, reach } of [SPARSE, DENSE]) expect(Math.max(...lags)).toBe(reach);
});

test('a host without WebAssembly has tables', async () => {
  vi.stubGlobal('WebAssembly', undefined);
  vi.resetModules();
  const { crc32: without } = await import('./checksum.js');
  expect(without(noise)).toBe(crc32(noise));
});
