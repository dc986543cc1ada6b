import { MmioSpace } from '@nestvm/bus';
import { beforeEach, describe, expect, it } from 'vitest';
import { createArena } from './arena.js';
import { MemoryError } from './errors.js';
import { PageFlag } from './page-flag.js';
import { PhysicalMemory } from './physical-memory.js';

const code = (run: () => unknown): string => {
  try {
    run();
  } catch (error) {
    if (error instanceof MemoryError) return error.code;
    throw error;
  }
  return 'nothing thrown';
};

function setup() {
  const arena = createArena({ bytes: 4 << 20 });
  const mmio = new MmioSpace();
  const memory = new PhysicalMemory({ arena, mmio });
  const ram = arena.allocate('ram', 0x10000, 4096);
  memory.mapRam(0, 0x10000, ram);
  return { arena, mmio, memory, ram };
}

let t: ReturnType<typeof setup>;
beforeEach(() => {
  t = setup();
});

it('shows the memory of an arena before it is used', () => {
  let shown: WebAssembly.Memory | undefined;
  const arena = createArena({ bytes: 4 << 20, onReserved: (memory) => (shown = memory) });
  expect(shown).toBe(arena.memory);
});

describe('arena', () => {
  it('never hands out the first page, aligns, and names what does not fit', () => {
    const arena = createArena({ bytes: 65536 });
    expect(arena.allocate('a', 1)).toBe(4096);
    expect(arena.allocate('b', 1)).toBe(4112);
    expect(arena.allocate('c', 10, 4096)).toBe(8192);
    expect(() => arena.allocate('big', 65536)).toThrow(/arena: 'big' needs 0\.1 MiB/);
    expect(arena.allocations.map(({ name }) => name)).toEqual(['a', 'b', 'c']);
    expect(arena.free).toBe(65536 - 8202);
  });

  it('hands out its other end, too, and lists all by where it lies', () => {
    const arena = createArena({ bytes: 65536 });
    expect(arena.allocateTop('ram', 8000, 4096)).toBe(65536 - 8192);
    expect(arena.allocateTop('more', 4096, 4096)).toBe(65536 - 12288);
    expect(arena.allocate('a', 1)).toBe(4096);
    expect(arena.allocations.map(({ name }) => name)).toEqual(['a', 'more', 'ram']);
    expect(arena.free).toBe(65536 - 12288 - 4097);
    expect(() => arena.allocateTop('big', 65536 - 12288 - 4096)).toThrow(/arena: 'big' needs 0\.0 MiB, 0\.0 MiB/);
    expect(() => arena.allocate('rest', 65536 - 12288 - 4096)).toThrow(/arena: 'rest'/);
    expect(code(() => arena.allocateTop('x', 1, 3))).toBe('bad-size');
  });

  it.each([[0], [-1], [Number.NaN], [2 ** 32 + 1]])('refuses a size of %s', (bytes) => {
    expect(code(() => createArena({ bytes }))).toBe('bad-size');
  });

  it.each([
    [1, 3],
    [-1, 16],
    [1.5, 16],
  ])('refuses %s bytes aligned to %s', (bytes, alignment) => {
    expect(code(() => t.arena.allocate('x', bytes, alignment))).toBe('bad-size');
  });

  it('reaches 4 GiB', () => {
    const arena = createArena({ bytes: 2 ** 32 });
    const memory = new PhysicalMemory({ arena });
    const top = 2 ** 32 - 4096;
    memory.mapRam(0, 4096, top);
    memory.write32(0xffc, 0x89abcdef);
    expect([memory.arenaOffsetOf(0xfff), memory.read32(0xffc), arena.u8[2 ** 32 - 1]]).toEqual([2 ** 32 - 1, 0x89abcdef, 0x89]);
    memory.setFlag(top / 4096, PageFlag.CODE);
    const seen: number[] = [];
    memory.onCodeWrite = (at, length) => seen.push(at, length);
    memory.write8(0xfff, 1);
    expect(seen).toEqual([2 ** 32 - 1, 1]);
  });
});

describe('guest-physical map', () => {
  it('reads and writes little-endian at any alignment and across pages', () => {
    for (const at of [0x100, 0x101, 0x102, 0x103, 0xffd, 0xffe, 0xfff]) {
      t.memory.write32(at, 0x89abcdef);
      expect([0, 1, 2, 3].map((i) => t.arena.u8[t.ram + at + i])).toEqual([0xef, 0xcd, 0xab, 0x89]);
      expect([t.memory.read32(at), t.memory.read16(at), t.memory.read16(at + 2), t.memory.read8(at + 3)]).toEqual([0x89abcdef, 0xcdef, 0x89ab, 0x89]);
      t.memory.write16(at + 1, 0x1234);
      expect(t.memory.read32(at)).toBe(0x891234ef);
    }
  });

  it('gives all ones where there is nothing, also at the end of RAM', () => {
    t.memory.write32(0xfffe, 0x11223344);
    expect([t.memory.read32(0xfffe), t.memory.read32(0x2_0000), t.memory.arenaOffsetOf(0x1_0000)]).toEqual([0xffff3344, 0xffffffff, -1]);
    const buffer = new Uint8Array(4);
    t.memory.read(0xfffe, buffer);
    expect([...buffer]).toEqual([0x44, 0x33, 0xff, 0xff]);
  });

  it.each([[0x1_0000_0000], [0x2_0000_0000], [2 ** 40], [2 ** 52 - 0x2000]])('maps RAM at %s', (base) => {
    const offset = t.arena.allocate('high', 0x2000, 4096);
    t.memory.mapRam(base, 0x2000, offset);
    t.memory.write32(base + 0xffe, 0x55667788);
    expect([t.memory.read32(base + 0xffe), t.memory.arenaOffsetOf(base + 0x1fff), t.memory.arenaOffsetOf(base - 1)]).toEqual([
      0x55667788,
      offset + 0x1fff,
      -1,
    ]);
    t.memory.unmap(base + 0x1000, 0x1000);
    expect([t.memory.arenaOffsetOf(base + 0xfff), t.memory.arenaOffsetOf(base + 0x1000)]).toEqual([offset + 0xfff, -1]);
    expect(t.memory.ranges().at(-1)).toEqual({ kind: 'ram', base, size: 0x1000, arenaOffset: offset });
  });

  it('routes devices with their width', () => {
    const log: string[] = [];
    t.mmio.claim({
      name: 'dev',
      base: 0xa0000,
      size: 16,
      read: (offset, width) => (log.push(`r${width}@${offset}`), 0x1234),
      write: (offset, width, value) => void log.push(`w${width}@${offset}=${value.toString(16)}`),
    });
    expect([t.memory.read8(0xa0000), t.memory.read16(0xa0002), t.memory.read32(0xa0004)]).toEqual([0x34, 0x1234, 0x1234]);
    t.memory.write32(0xa0008, -1);
    t.memory.write(0xa000e, Uint8Array.of(7));
    expect(log).toEqual(['r1@0', 'r2@2', 'r4@4', 'w4@8=ffffffff', 'w1@14=7']);
  });

  it('protects ROM, tells its owner of writes, and gives it back as RAM when remapped', () => {
    const writes: unknown[] = [];
    const rom = t.arena.allocate('rom', 0x1000, 4096);
    t.arena.u8[rom] = 0x5a;
    t.memory.mapRom(0x4000, 0x1000, rom, (...write) => writes.push(write));
    t.memory.write8(0x4000, 1);
    t.memory.write(0x3fff, Uint8Array.of(1, 2));
    t.memory.write32(0x4004, -2);
    expect([t.memory.read8(0x4000), t.memory.read8(0x3fff), t.memory.compareExchange32(0x4000, 0x5a, 9), t.memory.read8(0x4000)]).toEqual([
      0x5a,
      1,
      true,
      0x5a,
    ]);
    expect(writes).toEqual([
      [0x4000, 1, 1],
      [0x4000, 1, 2],
      [0x4004, 4, 0xfffffffe],
    ]);
    t.memory.mapRam(0x4000, 0x1000, rom);
    t.memory.write8(0x4000, 1);
    expect([t.memory.read8(0x4000), writes.length]).toEqual([1, 3]);
    expect(t.memory.ranges().map(({ kind, base, size }) => [kind, base, size])).toEqual([
      ['ram', 0, 0x4000],
      ['ram', 0x4000, 0x1000],
      ['ram', 0x5000, 0xb000],
    ]);
  });

  it.each([
    ['a base inside a page', 1, 4096, 4096],
    ['a size inside a page', 0, 100, 4096],
    ['no size', 0, 0, 4096],
    ['a fractional base', 0.5, 4096, 4096],
    ['the arena page that is never handed out', 0, 4096, 0],
    ['the end of the arena', 0, 8192, (4 << 20) - 4096],
    ['above 2^52', 2 ** 52, 4096, 4096],
  ])('refuses to map %s', (_what, base, size, offset) => {
    expect(code(() => t.memory.mapRam(base, size, offset))).toBe('bad-mapping');
  });

  it('agrees with a byte map under random maps, unmaps and stores', () => {
    let seed = 99;
    const random = (n: number): number => ((seed = (Math.imul(seed, 1103515245) + 12345) | 0) >>> 9) % n;
    const pool = t.arena.allocate('pool', 0x20000, 4096);
    const model = new Map<number, { kind: string; at: number }>();
    const content = new Uint8Array(0x20000);
    t.memory.unmap(0, 0x10000);
    const placed = (page: number): number => (page >= 8 ? 2 ** 33 + (page - 8) * 4096 : page * 4096);
    for (let round = 0; round < 4000; round++) {
      const page = random(16);
      const pages = 1 + random(Math.min(3, 8 - (page & 7)));
      const action = random(8);
      if (action < 2) {
        const from = random(30);
        if (action === 0) t.memory.mapRam(placed(page), pages * 4096, pool + from * 4096);
        for (let i = 0; i < pages && action === 0; i++) model.set(page + i, { kind: 'ram', at: from + i });
      } else if (action === 2) {
        t.memory.unmap(placed(page), pages * 4096);
        for (let i = 0; i < pages; i++) model.delete(page + i);
      } else {
        const offset = random(4092);
        const slot = model.get(page);
        const value = random(0x7fffff);
        t.memory.write32(placed(page) + offset, value);
        if (slot !== undefined) new DataView(content.buffer).setUint32(slot.at * 4096 + offset, value, true);
        expect(t.memory.read32(placed(page) + offset)).toBe(slot === undefined ? 0xffffffff : value);
      }
      const total = t.memory.ranges().reduce((sum, range) => sum + range.size, 0);
      expect(total).toBe(model.size * 4096);
    }
    expect(Buffer.compare(t.arena.u8.subarray(pool, pool + content.length), content)).toBe(0);
  });
});

describe('page flags', () => {
  it('call before code and watched pages are written, each write once, by pages', () => {
    const seen: string[] = [];
    t.memory.onCodeWrite = (at, length) => seen.push(`code ${at - t.ram}+${length} ${t.arena.u8[at]}`);
    t.memory.onWatchedWrite = (at, length) => seen.push(`watch ${at - t.ram}+${length}`);
    t.memory.setFlag(t.ram / 4096, PageFlag.CODE);
    t.memory.setFlag(t.ram / 4096 + 1, PageFlag.WATCHED | PageFlag.CODE);
    t.memory.write8(0x10, 7);
    t.memory.write32(0xffe, -1);
    t.memory.write(0xff0, new Uint8Array(0x20));
    t.memory.write32(0x2000, 1);
    expect(t.memory.compareExchange32(0x20, 0, 1)).toBe(true);
    expect(t.memory.compareExchange32(0x20, 0, 1)).toBe(false);
    expect(seen).toEqual([
      'code 16+1 0',
      'code 4094+1 0',
      'code 4095+1 0',
      'code 4096+1 0',
      'watch 4096+1',
      'code 4097+1 0',
      'watch 4097+1',
      'code 4080+16 0',
      'code 4096+16 255',
      'watch 4096+16',
      'code 32+4 0',
    ]);
  });

  it('tell observers only when a page that may be cached becomes trapped', () => {
    const revoked: number[] = [];
    t.memory.observe({ mapChanged: () => revoked.push(-100), writeAccessRevoked: (page) => revoked.push(page) });
    const page = t.ram / 4096;
    t.memory.setFlag(page, PageFlag.CODE);
    t.memory.clearFlag(page, PageFlag.CODE);
    t.memory.setFlag(page, PageFlag.WRITE_CACHED);
    t.memory.setFlag(page, PageFlag.CODE);
    expect([revoked, t.memory.pageFlags[page]]).toEqual([[page], PageFlag.CODE | PageFlag.DIRTY_LOG]);
    t.memory.mapRam(0, 4096, t.ram);
    expect(revoked).toEqual([page, -100]);
  });
});

describe('dirty log', () => {
  const dirty = (bitmap: Uint32Array): number[] => {
    const pages: number[] = [];
    bitmap.forEach((bits, word) => {
      for (let i = 0; i < 32; i++) if ((bits >>> i) & 1) pages.push(word * 32 + i - t.ram / 4096);
    });
    return pages;
  };

  it('has the pages written since the last look, by all ways to write', () => {
    const log = t.memory.dirtyLog;
    t.memory.write8(0x9000, 1);
    expect(log.take()).toHaveLength(0);
    log.start();
    expect(dirty(log.take())).toEqual([]);
    t.memory.write8(0x1000, 1);
    t.memory.write(0x2ff0, new Uint8Array(0x20));
    t.memory.compareExchange32(0x5000, 0, 0x20);
    t.memory.read32(0x7000);
    expect(dirty(log.take())).toEqual([1, 2, 3, 5]);
    t.memory.write8(0x1000, 2);
    expect(dirty(log.take())).toEqual([1]);
    log.stop();
    t.memory.write8(0x1000, 3);
    expect([log.running, log.take().length]).toEqual([false, 0]);
  });

  it('knows which pages were ever written, whether it runs or not', () => {
    const log = t.memory.dirtyLog;
    expect(dirty(log.written())).toEqual([]);
    t.memory.write8(0x9000, 1);
    log.start();
    t.memory.write8(0x1000, 1);
    log.take();
    log.stop();
    t.memory.view(0x3000, 0x1000, true);
    t.memory.view(0x6000, 0x1000, false);
    log.mark(t.ram / 4096 + 8);
    expect(dirty(log.written())).toEqual([1, 3, 8, 9]);
    t.memory.write8(0x1000, 2);
    expect([1, 2].map((page) => t.memory.pageFlags[t.ram / 4096 + page]! & PageFlag.DIRTY_LOG)).toEqual([0, PageFlag.DIRTY_LOG]);
  });

  it('watches ranges that begin and end anywhere, and nothing beside them', () => {
    for (const [first, pages] of [
      [0, 31],
      [1, 32],
      [3, 100],
      [5, 1],
      [33, 62],
    ] as const) {
      const { arena, memory } = setup();
      const at = arena.allocate('more', 256 * 4096, 32 * 4096) / 4096;
      memory.dirtyLog.mark(at + first);
      memory.mapRam(0x10_0000, pages * 4096, (at + first) * 4096);
      const trapped = (): number[] => [...Array(256).keys()].filter((page) => memory.pageFlags[at + page] === PageFlag.DIRTY_LOG);
      const all = Array.from({ length: pages }, (_, i) => first + i);
      expect(trapped()).toEqual(all.slice(1));
      memory.dirtyLog.start();
      expect(trapped()).toEqual(all);
    }
  });

  it('clears what was written, and does not touch the rest', () => {
    const log = t.memory.dirtyLog;
    t.memory.write(0x1ffe, Uint8Array.of(1, 2, 3, 4));
    t.memory.write8(0x3fff, 5);
    t.memory.write8(0x4000, 6);
    const codeWrites: number[] = [];
    t.memory.onCodeWrite = (at, length) => codeWrites.push(at - t.ram, length);
    t.memory.setFlag(t.ram / 4096 + 3, PageFlag.CODE);
    t.memory.clear(0x1fff, 0x2001);
    const left = new Uint8Array(0x4000);
    t.memory.read(0x1000, left);
    expect([...left.entries()].filter(([, byte]) => byte !== 0)).toEqual([
      [0xffe, 1],
      [0x3000, 6],
    ]);
    expect([dirty(log.written()), codeWrites]).toEqual([
      [1, 2, 3, 4],
      [0x3000, 0x1000],
    ]);
    t.memory.clear(0x7000, 0x1000);
    expect(dirty(log.written())).toEqual([1, 2, 3, 4]);
  });

  it('counts memory that is mapped while it runs as written', () => {
    t.memory.dirtyLog.start();
    t.memory.mapRam(0x4000, 0x1000, t.ram + 0x4000);
    expect(dirty(t.memory.dirtyLog.take())).toEqual([4]);
  });
});
