import { expect, test } from 'vitest';
import { createMemorySink, createMemorySource } from '../src/channel.js';
import { hasPage, nextPage } from '../src/clear-pages.js';
import { ContainerReader, ContainerWriter } from '../src/container.js';
import { useHostComparison } from '../src/index.js';
import { pageSpans } from '../src/ram-codec.js';

const PAGES = 700;
const ZEROS = new Uint8Array(4096);
let seed = 1;
const random = (below: number): number => {
  seed = (Math.imul(seed, 1103515245) + 12345) & 0x7fff_ffff;
  return (seed >>> 8) % below;
};

/** Memory with pages that hold a byte anywhere, in stretches, and a bitmap with stretches of wanted ones. */
function make(): { bytes: Uint8Array; wanted: Uint32Array } {
  const bytes = new Uint8Array(PAGES * 4096);
  const wanted = new Uint32Array((PAGES + 31) >>> 5);
  let [full, want] = [false, false];
  for (let page = 0; page < PAGES; page++) {
    if (random(20) === 0) full = !full;
    if (random(30) === 0) want = !want;
    if (full) bytes[page * 4096 + random(4096)] = 1 + random(255);
    if (want) wanted[page >>> 5]! |= 1 << (page & 31);
  }
  // Bits behind the last page say nothing.
  wanted[wanted.length - 1]! |= 1 << 31;
  return { bytes, wanted };
}

function check(): void {
  for (let round = 0; round < 40; round++) {
    const { bytes, wanted } = make();
    const map = round % 4 === 0 ? undefined : wanted;
    const seen = new Map<number, boolean>();
    for (const { firstPage, pages, zero } of pageSpans(bytes, { wanted: map })) {
      expect(pages).toBeLessThanOrEqual(256);
      for (let page = firstPage; page < firstPage + pages; page++) seen.set(page, zero);
    }
    const all = Array.from({ length: PAGES }, (_, page) => page).filter((page) => map === undefined || hasPage(map, page));
    const isClear = (page: number): boolean => Buffer.compare(bytes.subarray(page * 4096, (page + 1) * 4096), ZEROS) === 0;
    expect([...seen]).toEqual(all.map((page) => [page, isClear(page)]));
  }
}

test('bridged spans go over few pages between two that hold something, and end where they would', () => {
  for (let round = 0; round < 40; round++) {
    const { bytes, wanted } = make();
    const isClear = (page: number): boolean => Buffer.compare(bytes.subarray(page * 4096, (page + 1) * 4096), ZEROS) === 0;
    const holds = (page: number): boolean => hasPage(wanted, page) && !isClear(page);
    let before = 0;
    const sent = new Set<number>();
    for (const { firstPage, pages, zero } of pageSpans(bytes, { wanted, bridge: 3 })) {
      expect([firstPage >= before, pages <= 256]).toEqual([true, true]);
      before = firstPage + pages;
      const all = Array.from({ length: pages }, (_, i) => firstPage + i);
      if (zero) expect(all.every((page) => hasPage(wanted, page) && isClear(page))).toBe(true);
      else {
        expect([holds(firstPage), holds(before - 1)]).toEqual([true, true]);
        expect(all.every((page) => [0, 1, 2, 3].some((back) => page - back >= firstPage && holds(page - back)))).toBe(true);
        // No span begins so near to another that it would have gone with it, unless that one is full.
        if (pages < 256)
          for (let page = before; page <= Math.min(before + 3, firstPage + 255); page++) expect(holds(page) && page < PAGES).toBe(false);
      }
      for (const page of all) sent.add(page);
    }
    for (let page = 0; page < PAGES; page++) if (hasPage(wanted, page)) expect(sent.has(page)).toBe(true);
  }
});

test('spans have every wanted page once, and are right about what is clear; without and with a comparison of the host', () => {
  check();
  expect(useHostComparison((a, b) => Buffer.compare(a, b) === 0)).toBe(true);
  check();
});

test('the next page that a bitmap has or has not', () => {
  const { wanted } = make();
  for (let from = 0; from <= PAGES; from++) {
    for (const has of [true, false]) {
      let page = from;
      while (page < PAGES && hasPage(wanted, page) !== has) page++;
      expect(nextPage(wanted, has, from, PAGES)).toBe(page);
    }
  }
});

test('sections are made while others are written, and come in order', async () => {
  const memory = createMemorySink();
  const slow = {
    write: async (bytes: Uint8Array) => {
      await new Promise((resolve) => setTimeout(resolve, 2));
      await memory.write(bytes);
    },
  };
  const out = new ContainerWriter(slow);
  await out.begin();
  const pages = Array.from({ length: 12 }, (_, i) => new Uint8Array(300_000).fill(i + 1));
  for (const page of pages) await out.section('PAGE', page);
  await out.end();
  const input = new ContainerReader(createMemorySource(memory.bytes()));
  await input.begin();
  for (const page of pages) expect(Buffer.compare((await input.next()).payload, page)).toBe(0);
  expect((await input.next()).kind).toBe('END ');
});

test('a sink that fails is told by the next section, or by what is prompt', async () => {
  let left = 2;
  const failing = { write: () => (left-- > 0 ? Promise.resolve() : Promise.reject(new Error('the disk is full'))) };
  const out = new ContainerWriter(failing);
  await out.begin();
  const page = new Uint8Array(1 << 20);
  await out.section('PAGE', page);
  await out.section('PAGE', page);
  // Nobody has heard of it yet, and it is no unhandled rejection either.
  await new Promise((resolve) => setTimeout(resolve, 5));
  await expect(out.section('PAGE', page)).rejects.toThrow('the disk is full');
  await expect(out.end()).rejects.toThrow('the disk is full');
});

test('what stands still is written as it lies, and reads the same as what was copied', async () => {
  const page = Uint8Array.from({ length: 200_000 }, (_, i) => (i * 7) & 0xff);
  const first = Uint8Array.of(1, 2, 3);
  const [copied, still] = [createMemorySink(), createMemorySink()];
  const seen: Uint8Array[] = [];
  const watched = {
    write: (bytes: Uint8Array) => {
      seen.push(bytes);
      return still.write(bytes);
    },
  };
  const [one, other] = [new ContainerWriter(copied), new ContainerWriter(watched)];
  await Promise.all([one.begin(), other.begin()]);
  for (const length of [0, 5000, 65_535, 65_536, page.length]) {
    await one.section('PAGE', first, page.subarray(0, length));
    await other.still('PAGE', first, page.subarray(0, length));
  }
  await Promise.all([one.end(), other.end()]);
  expect(Buffer.compare(still.bytes(), copied.bytes())).toBe(0);
  expect([other.bytes, one.bytes]).toEqual([still.bytes().length, still.bytes().length]);
  expect(seen.filter(({ buffer }) => buffer === page.buffer).map(({ length }) => length)).toEqual([65_536, page.length]);
});
