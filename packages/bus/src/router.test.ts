import { describe, expect, it } from 'vitest';
import type { Region, Width } from './contracts.js';
import { BusError } from './errors.js';
import { MmioSpace } from './mmio-space.js';
import { PortSpace } from './port-space.js';

/** A region of bytes that logs its accesses. */
function bytesRegion(name: string, base: number, size: number) {
  const log: string[] = [];
  const store = new Uint8Array(size);
  const region: Region = {
    name,
    base,
    size,
    read(offset, width) {
      log.push(`r${width}@${offset}`);
      let value = 0;
      for (let i = width - 1; i >= 0; i--) value = value * 256 + store[offset + i]!;
      return value;
    },
    write(offset, width, value) {
      log.push(`w${width}@${offset}`);
      for (let i = 0; i < width; i++) store[offset + i] = value >>> (8 * i);
    },
  };
  return { region, log, store };
}

const code = (run: () => void): string => {
  try {
    run();
  } catch (error) {
    if (error instanceof BusError) return `${error.code}: ${error.message}`;
    throw error;
  }
  return 'nothing thrown';
};

describe.each([
  ['PortSpace', () => new PortSpace(), 0x10000],
  ['MmioSpace', () => new MmioSpace(), 2 ** 52],
] as const)('%s', (_name, create, limit) => {
  it('tells a listener of the bytes that nobody claims', () => {
    const space = create();
    space.claim(bytesRegion('a', 0x10, 2).region);
    const seen: [number, number?][] = [];
    space.onUnclaimed = (at, value) => void seen.push(value === undefined ? [at] : [at, value]);
    space.read(0x10, 4);
    space.write(0x0e, 4, 0x44332211);
    space.read(0x10, 2);
    expect(seen).toEqual([[0x12], [0x13], [0x0e, 0x11], [0x0f, 0x22]]);
  });

  it('reads all ones and swallows writes where nobody claims', () => {
    const space = create();
    expect([1, 2, 4].map((width) => space.read(0x80, width as Width))).toEqual([0xff, 0xffff, 0xffffffff]);
    space.write(0x80, 4, 1);
    expect(space.read(0x80, 4)).toBe(0xffffffff);
  });

  it('routes offsets from the base, whole when aligned and inside', () => {
    const space = create();
    const { region, log, store } = bytesRegion('a', 0x100, 8);
    space.claim(region);
    space.write(0x104, 4, -1);
    space.write(0x106, 2, 0x11223344);
    expect(space.read(0x104, 4)).toBe(0x3344ffff);
    expect([...store.subarray(4)]).toEqual([0xff, 0xff, 0x44, 0x33]);
    expect(log).toEqual(['w4@4', 'w2@6', 'r4@4']);
  });

  it('splits misaligned and crossing accesses, low half first, and fills holes with ones', () => {
    const space = create();
    const a = bytesRegion('a', 0x100, 2);
    const b = bytesRegion('b', 0x103, 1);
    space.claim(a.region);
    space.claim(b.region);
    space.write(0x100, 4, 0x44332211);
    expect(a.log).toEqual(['w2@0']);
    expect(b.log).toEqual(['w1@0']);
    expect(space.read(0x100, 4)).toBe(0x44ff2211);
    expect(space.read(0x101, 2)).toBe(0xff22);
    expect(space.read(0xff, 2)).toBe(0x11ff);
  });

  it('names both regions of an overlap and claims nothing', () => {
    const space = create();
    space.claim(bytesRegion('first', 0x100, 8).region);
    const message = code(() => space.claim(bytesRegion('second', 0x107, 4).region));
    expect(message).toMatch(/^overlap: .*'second' at 0x107-0x10a overlaps 'first' at 0x100-0x107/);
    expect(space.read(0x108, 1)).toBe(0xff);
    expect(space.list()).toEqual([{ name: 'first', base: 0x100, size: 8 }]);
  });

  it('refuses what is outside the space or not a whole range', () => {
    const space = create();
    for (const [base, size] of [
      [limit - 1, 2],
      [-1, 4],
      [0, 0],
      [0.5, 1],
      [Number.NaN, 1],
      [0, 1.5],
    ] as const) {
      expect(
        code(() =>
          space.claim(
            bytesRegion('x', base, Number.isInteger(size) ? size : 1).region.size === size
              ? bytesRegion('x', base, size).region
              : { ...bytesRegion('x', base, 1).region, size },
          ),
        ),
      ).toMatch(/^bad-region: /);
    }
    space.claim(bytesRegion('last', limit - 1, 1).region);
    expect(space.read(limit - 1, 1)).toBe(0);
  });

  it('moves a region, over itself too, and stays when the target is taken', () => {
    const space = create();
    const a = bytesRegion('a', 0x100, 8);
    const handle = space.claim(a.region);
    space.claim(bytesRegion('b', 0x200, 8).region);
    handle.move(0x104);
    expect([space.read(0x100, 1), space.read(0x10b, 1)]).toEqual([0xff, 0]);
    expect(code(() => handle.move(0x1fc))).toMatch(/^overlap: .*'a'.*'b'/);
    expect(space.read(0x104, 4)).toBe(0);
    handle.remove();
    handle.remove();
    expect(space.read(0x104, 4)).toBe(0xffffffff);
    expect(code(() => handle.move(0x100))).toMatch(/^removed: /);
    space.claim(bytesRegion('c', 0x104, 8).region);
    expect(space.read(0x104, 4)).toBe(0);
  });

  it('agrees with a byte map under random claims, moves and removals', () => {
    const space = create();
    let seed = 12345;
    const random = (n: number): number => ((seed = (Math.imul(seed, 1103515245) + 12345) | 0) >>> 9) % n;
    const model = new Map<number, string>();
    const live: { name: string; base: number; size: number; handle: ReturnType<typeof space.claim> }[] = [];
    const paint = (base: number, size: number, name: string | undefined): void => {
      for (let i = base; i < base + size; i++) {
        if (name === undefined) model.delete(i);
        else model.set(i, name);
      }
    };
    const isFree = (base: number, size: number, name: string): boolean => {
      for (let i = base; i < base + size; i++) if (model.has(i) && model.get(i) !== name) return false;
      return true;
    };
    let hits = 0;
    for (let round = 0; round < 3000; round++) {
      const pick = live[random(live.length + 6)];
      const base = random(300);
      if (pick === undefined) {
        const size = 1 + random(16);
        const name = `r${round}`;
        const free = isFree(base, size, name);
        const claim = () => space.claim({ name, base, size, read: () => Number(name.slice(1)) & 0xff, write: () => undefined });
        if (!free) expect(code(claim)).toMatch(/^overlap/);
        else {
          live.push({ name, base, size, handle: claim() });
          paint(base, size, name);
        }
      } else if (random(3) === 0) {
        pick.handle.remove();
        paint(pick.base, pick.size, undefined);
        live.splice(live.indexOf(pick), 1);
      } else if (isFree(base, pick.size, pick.name)) {
        pick.handle.move(base);
        paint(pick.base, pick.size, undefined);
        pick.base = base;
        paint(base, pick.size, pick.name);
      } else {
        expect(code(() => pick.handle.move(base))).toMatch(/^overlap/);
      }
      const probe = random(320);
      const owner = model.get(probe);
      if (owner !== undefined) hits++;
      expect(space.read(probe, 1)).toBe(owner === undefined ? 0xff : Number(owner.slice(1)) & 0xff);
    }
    expect(hits).toBeGreaterThan(300);
  });
});
