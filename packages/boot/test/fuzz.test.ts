import { describe, expect, it } from 'vitest';
import { BootError, buildE820, isRam, loadKernel } from '../src/index.js';
import { bzImage, elf, multiboot2Header, multibootHeader } from './images.js';

const e820 = buildE820({ below4G: 32 << 20, above4G: 0 });
const seeds = [
  bzImage(),
  elf({ pvh: 0x100000 }),
  elf({ bits: 32, contents: multibootHeader(3) }),
  multibootHeader(0x10000, { header: 0x100000, load: 0x100000, loadEnd: 0, bssEnd: 0x110000, entry: 0x100000 }),
  elf({
    contents: multiboot2Header([
      [1, 0, [1]],
      [2, 1, [0x100000, 0x100000, 0, 0]],
      [3, 0, [0x100000]],
    ]),
  }),
];

const RUNS = 20_000;
const VALUES = [0, 1, 2, 0x7f, 0x80, 0xff, 0x10, 0x40];

/** Numbers below a limit, the same in every run (multiplicative congruential, Park and Miller's constants). */
function generator(seed: number): (limit: number) => number {
  let state = seed;
  return (limit) => {
    state = (state * 48271) % 0x7fffffff;
    return state % limit;
  };
}

describe('damaged kernels', () => {
  it('load into RAM or end in a BootError of one line, whatever is in them', () => {
    let loaded = 0;
    let refused = 0;
    const random = generator(0x5eed);
    for (let run = 0; run < RUNS; run++) {
      const seed = seeds[random(seeds.length)]!;
      const bytes = seed.slice(0, random(4) === 0 ? random(seed.length + 1) : seed.length);
      for (let edits = random(7); edits > 0 && bytes.length > 0; edits--)
        bytes[random(Math.min(bytes.length, 0x2a0))] = VALUES[random(VALUES.length)]!;
      try {
        const plan = loadKernel({ kernel: { name: 'k', bytes }, e820, longMode: true, modules: [{ name: 'i', bytes: new Uint8Array(100) }] });
        loaded++;
        const outside = plan.writes.find((write) => !isRam(e820, write.address, Math.max(1, write.bytes.length, write.size ?? 0)));
        expect(outside).toBeUndefined();
      } catch (error) {
        if (!(error instanceof BootError)) throw error;
        refused++;
        if (!/^[^\n]{10,300}$/.test(error.message)) expect.fail(`not one line: ${error.message}`);
      }
    }
    console.log(`boot: ${loaded} damaged kernels loaded within RAM, ${refused} refused with one line`);
    expect(Math.min(loaded, refused)).toBeGreaterThan(500);
  });
});
