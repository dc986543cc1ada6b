import { expect, it } from 'vitest';
import { heldByQemu, ImageLock } from './image-lock.js';

/** No file has this number: other tests may lock files meanwhile. */
const file = { dev: 1n, ino: BigInt(process.pid) * 1_000_000n };

it.runIf(process.platform === 'linux')('one writes an image, or any number read it, and a claim that was given up can be taken again', () => {
  const writer = ImageLock.take(file, 'write')!;
  expect([ImageLock.take(file, 'write'), ImageLock.take(file, 'read')]).toEqual([undefined, undefined]);
  expect(ImageLock.take({ ...file, ino: file.ino + 1n }, 'write')).toBeDefined();
  writer.release();
  const readers = [ImageLock.take(file, 'read')!, ImageLock.take(file, 'read')!];
  expect([writer.renew(), ImageLock.take(file, 'write')]).toEqual([false, undefined]);
  for (const reader of readers) reader.release();
  expect([writer.renew(), ImageLock.take(file, 'read')]).toEqual([true, undefined]);
});

it('reads the locks of a QEMU', () => {
  const locks = (first: string, second: string): string => `1: POSIX  ADVISORY  WRITE 77 fe:00:2146563 0 EOF
2: OFDLCK ADVISORY  READ -1 fe:00:2146563 ${first}
3: OFDLCK ADVISORY  READ -1 fe:00:2146563 ${second}
`;
  // /dev/vda (major 254, minor 0).
  const image = { dev: 65024n, ino: 2146563n };
  const [writes, reads] = [locks('201 201', '100 101'), locks('100 100', '201 201')];
  expect([heldByQemu(writes, image, 'write'), heldByQemu(writes, image, 'read')]).toEqual([true, true]);
  expect([heldByQemu(reads, image, 'write'), heldByQemu(reads, image, 'read')]).toEqual([true, false]);
  expect(heldByQemu(writes, { ...image, ino: 2146564n }, 'write')).toBe(false);
  expect(heldByQemu('', image, 'write')).toBe(false);
});
