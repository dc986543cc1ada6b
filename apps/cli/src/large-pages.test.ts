import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { adviseLargePages } from './large-pages.js';

const BYTES = 64 << 20;

/** Bytes of this process for which Linux has noted that large pages are wanted (proc(5), `VmFlags` of smaps). */
function notedBytes(): number {
  if (process.platform !== 'linux') return 0;
  let bytes = 0;
  for (const [, size, flags] of readFileSync('/proc/self/smaps', 'latin1').matchAll(/^Size:\s+(\d+) kB$[^]*?^VmFlags:(.*)$/gm))
    if (/ hg\b/.test(flags!)) bytes += Number(size) * 1024;
  return bytes;
}

it('says whether the system has noted that large pages are wanted', () => {
  const memory = new WebAssembly.Memory({ initial: BYTES >>> 16, maximum: BYTES >>> 16 });
  const before = notedBytes();
  expect(adviseLargePages(memory)).toBe(notedBytes() >= before + BYTES);
  expect(new Uint8Array(memory.buffer).every((byte) => byte === 0)).toBe(true);
});
