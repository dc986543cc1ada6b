import { describe, expect, it } from 'vitest';
import { Allowed, StageCache } from './stage-cache.js';

const { READ, WRITE } = Allowed;
const FAR = 0x9_8765_4321;

describe('the cache of guest-physical pages', () => {
  it('finds what was stored under its generation only, wide page numbers too', () => {
    const cache = new StageCache();
    expect(cache.find(1, FAR)).toBe(0);
    cache.put(1, FAR, 0xab_1234_5678, READ | WRITE, 12);
    expect([cache.find(1, FAR), cache.page]).toEqual([READ | WRITE, 0xab_1234_5678]);
    expect([cache.find(2, FAR), cache.find(1, FAR % 0x1_0000_0000), cache.find(1, FAR + 1)]).toEqual([0, 0, 0]);
  });

  it.each([
    ['4 KiB', 12, [1]],
    ['2 MiB', 21, [0, 1, 511]],
    ['1 GiB', 30, [0, 1, 511, 512, 0x3_ffff]],
  ])('forgets a page of %s whole, and nothing beside it', (_name, sizeShift, inside) => {
    const cache = new StageCache();
    const first = 5 * 0x4_0000;
    for (const page of [...inside, -1, 2 ** (sizeShift - 12) + 1]) cache.put(3, first + page, 7, READ, sizeShift);
    cache.put(4, first + 1, 7, READ, sizeShift);
    cache.drop(3, first + 1);
    // Pages 1 GiB apart share places, so what lies beside may be gone already; it must not be gone by this.
    expect(inside.filter((page) => cache.find(3, first + page) !== 0)).toEqual([]);
    expect(cache.find(4, first + 1)).toBe(READ);
    expect(cache.find(3, first - 1)).toBe(READ);
  });

  it('forgets everything at once, and when the generations are used up', () => {
    const cache = new StageCache();
    cache.put(1, 5, 6, READ, 12);
    cache.clear();
    expect(cache.find(1, 5)).toBe(0);
    let wraps = 0;
    for (let i = 0; i < 5000; i++) {
      const generation = cache.nextGeneration(() => wraps++);
      expect(cache.find(generation, 9)).toBe(0);
      cache.put(generation, 9, i, READ, 12);
    }
    expect(wraps).toBe(1);
  });
});
