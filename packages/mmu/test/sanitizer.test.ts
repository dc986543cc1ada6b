import { Cr0, Cr4, Efer } from '@nestvm/isa';
import { beforeEach, describe, expect, it } from 'vitest';
import type { StaleTranslation } from '../src/index.js';
import { createGuestSpace, formatStale, Paging, Stage } from '../src/index.js';
import { createGuest, World } from './world.js';

const PAGE = 0x1000n;
let world: World;
let reports: StaleTranslation[];
let rip: bigint;

/** A store of the guest, as the slow path of the CPU makes it. */
function store(address: number, value: number, at: bigint): void {
  rip = at;
  world.memory.write32(address, value);
  rip = 0x100n;
}

const read = (): number => (world.translate(world.access('read', PAGE)) ? world.mmu.physical : -1);

beforeEach(() => {
  reports = [];
  rip = 0x100n;
  const { arena, memory } = createGuest();
  const sanitize = { report: (stale: StaleTranslation) => void reports.push(stale), where: () => rip };
  world = new World(arena, memory, { maxPhysicalAddress: 40, pages1g: true, sanitize });
  for (const [address, value] of [
    [0x1000, 0x2067],
    [0x2000, 0x3067],
    [0x3000, 0x4067],
    [0x4008, 0x5067],
  ] as const)
    memory.write32(address, value);
  for (let level = 0; level < 3; level++) memory.write32(0x6000 + level * 4096, (0x7000 + level * 4096) | 7);
  for (let page = 0; page < 16; page++) memory.write32(0x9000 + page * 8, (page << 12) | 0x37);
  Object.assign(world.registers, { cr0: Cr0.PE | Cr0.PG | Cr0.WP, cr4: Cr4.PAE, efer: Efer.LMA | Efer.LME, cr3: 0x1000n });
  world.apply();
});

describe('the sanitizer', () => {
  it('lends judged translations to generated code, until a table is written or something is forgotten', () => {
    const lent = (): boolean => world.lookup('read', PAGE) >= 0;
    read();
    expect(lent()).toBe(false);
    read();
    expect(lent()).toBe(true);
    store(0x4018, 0x5067, 1n);
    expect(lent()).toBe(false);
    read();
    expect(lent()).toBe(true);
    world.mmu.invalidatePage(Number(PAGE), 0);
    expect(lent()).toBe(false);
  });

  it('says which entry changed, where it was written, and where the stale translation was used; and uses it', () => {
    expect(read()).toBe(0x5000);
    store(0x4008, 0xa067, 0xffff_8000n);
    expect(read()).toBe(0x5000);
    expect(reports).toHaveLength(1);
    const [stale] = reports;
    expect(stale).toMatchObject({ linear: PAGE, access: 'read', cachedPage: 5, changedAt: 0xffff_8000n, at: 0x100n });
    expect(stale!.before).toMatchObject({ stage: 'guest', level: 1, address: 0x4008, entry: 0x5067n });
    expect(stale!.fresh.entry?.physical).toBe(0xa000);
    expect(formatStale(stale!)).toContain('guest entry of level 1 at 4008 was 5067, is a067, written at ffff8000; no invalidation since');
    read();
    expect(reports).toHaveLength(1);
  });

  it('reports a lost right and a lost page', () => {
    read();
    store(0x3000, 0, 1n);
    read();
    expect(reports[0]?.fresh.outcome).toBe('guest-not-present');
    world.mmu.flushAll();
    store(0x3000, 0x4067, 2n);
    expect(world.translate(world.access('write', PAGE))).toBe(true);
    store(0x4008, 0x5065, 3n);
    expect(world.translate(world.access('write', PAGE))).toBe(true);
    expect(reports.map(({ access, changedAt }) => [access, changedAt])).toEqual([
      ['read', 1n],
      ['write', 3n],
    ]);
  });

  it('is silent when the page was invalidated, and about flags and more rights', () => {
    store(0x4008, 0x5065, 1n);
    expect(read()).toBe(0x5000);
    store(0x4008, 0x5007, 1n);
    expect(read()).toBe(0x5000);
    store(0x4008, 0xa067, 2n);
    world.mmu.invalidatePage(Number(PAGE), 0);
    expect(read()).toBe(0xa000);
    expect(reports).toEqual([]);
  });

  it('finds an EPT entry that was edited without INVEPT', () => {
    const space = Object.assign(createGuestSpace(), { tag: 1, stage: Stage.EPT, root: 0x6000, paging: Paging.LEVEL4 });
    world.mmu.enterGuest(space);
    expect(read()).toBe(0x5000);
    world.mmu.leaveGuest();
    store(0x9000 + 5 * 8, 0xb037, 0xabcn);
    world.mmu.enterGuest(space);
    expect(read()).toBe(0x5000);
    expect(reports[0]).toMatchObject({ changedAt: 0xabcn, cachedPage: 5 });
    expect(reports[0]!.before).toMatchObject({ stage: 'nested', address: 0x9028 });
    world.mmu.invalidateRoot(0x6000);
    expect(read()).toBe(0xb000);
    expect(reports).toHaveLength(1);
  });
});
