import { Cr0, Cr4, Efer, vcpuState } from '@nestvm/isa';
import { createArena, PageFlag, PhysicalMemory } from '@nestvm/memory';
import { beforeEach, describe, expect, it } from 'vitest';
import { Access } from './access.js';
import { PageFault } from './faults.js';
import { MemoryType } from './memory-type.js';
import { Mmu } from './mmu.js';
import { TranslationFault } from './options.js';
import type { SecondStage } from './second-stage.js';
import { StageRights } from './second-stage.js';
import { TLB_ENTRIES, TLB_ENTRY_BYTES } from './tlb/layout.js';

const { offset } = vcpuState;
const PML4 = 0x1000;
const PDPT = 0x2000;
const PD = 0x3000;
const PT = 0x4000;
const P = 1;
const W = 2;
const U = 4;

/** A vCPU in 64-bit mode with one page table that maps linear 0-2 MiB; RAM is 1 MiB at 0. */
function setup(options: { maxPhysicalAddress?: number; banks?: number } = {}) {
  const arena = createArena({ bytes: 8 << 20 });
  const memory = new PhysicalMemory({ arena });
  memory.mapRam(0, 1 << 20, arena.allocate('ram', 1 << 20, 4096));
  const base = arena.allocate('vcpu', vcpuState.size);
  const mmu = new Mmu({ memory, vcpuBase: base, ...options });
  const set = (field: keyof typeof offset, value: number): void => {
    arena.i32[(base + offset[field]) / 4] = value;
  };
  const long = (): void => {
    set('cr0', Cr0.PE | Cr0.PG | Cr0.WP);
    set('cr4', Cr4.PAE);
    set('efer', Efer.LME | Efer.LMA | Efer.NXE);
    set('cr3', PML4);
    memory.write32(PML4, PDPT | P | W | U);
    memory.write32(PDPT, PD | P | W | U);
    memory.write32(PD, PT | P | W | U);
    mmu.setContext();
  };
  /** The TLB entry that an access to `linear` would hit: arena offset, or -1. */
  const hit = (table: 'tlbRead' | 'tlbWrite' | 'tlbExec', linear: number): number => {
    const at = (arena.u32[(base + offset[table]) / 4]! + ((linear >>> 12) & (TLB_ENTRIES - 1)) * TLB_ENTRY_BYTES) / 4;
    if (arena.i32[at] !== (linear & ~0xfff) || arena.i32[at + 1] !== 0) return -1;
    return (linear + arena.i32[at + 2]!) >>> 0;
  };
  return { arena, memory, mmu, set, long, hit, base };
}

let t: ReturnType<typeof setup>;
beforeEach(() => {
  t = setup();
});

describe('without paging', () => {
  it('is the identity, and fills all tables it is asked for', () => {
    expect(t.mmu.translate(0x1234, 0, Access.WRITE, false)).toBe(true);
    expect(t.mmu.physical).toBe(0x1234);
    expect(t.hit('tlbWrite', 0x1234)).toBe(t.memory.arenaOffsetOf(0x1234));
    expect(t.hit('tlbRead', 0x1234)).toBe(t.memory.arenaOffsetOf(0x1234));
    expect(t.hit('tlbExec', 0x1234)).toBe(-1);
  });

  it('reaches devices without filling', () => {
    expect(t.mmu.translate(0xfee0_0020 | 0, 0, Access.READ, false)).toBe(true);
    expect([t.mmu.physical, t.mmu.arenaOffset]).toEqual([0xfee0_0020, -1]);
    expect(t.hit('tlbRead', 0xfee0_0020 | 0)).toBe(-1);
  });

  it('drops address bit 20 while the A20 gate is closed, and only then', () => {
    t.set('a20Mask', ~0x10_0000);
    t.mmu.setContext();
    expect(t.mmu.translate(0x10_0040, 0, Access.READ, false)).toBe(true);
    expect(t.mmu.physical).toBe(0x40);
    t.set('a20Mask', -1);
    t.mmu.setContext();
    expect(t.mmu.translate(0x10_0040, 0, Access.READ, false)).toBe(true);
    expect(t.mmu.physical).toBe(0x10_0040);
  });
});

describe('A and D flags', () => {
  it('sets A everywhere on a read and D in the leaf on a write; write access waits for D', () => {
    t.long();
    t.memory.write32(PT + 8, 0x5000 | P | W | U);
    expect(t.mmu.translate(0x1008, 0, Access.READ, false)).toBe(true);
    expect(t.mmu.physical).toBe(0x5008);
    expect([PML4, PDPT, PD, PT + 8].map((a) => t.memory.read32(a) & 0x60)).toEqual([0x20, 0x20, 0x20, 0x20]);
    expect([t.hit('tlbRead', 0x1008), t.hit('tlbWrite', 0x1008)]).toEqual([t.memory.arenaOffsetOf(0x5008), -1]);
    expect(t.mmu.translate(0x1008, 0, Access.WRITE, false)).toBe(true);
    expect(t.memory.read32(PT + 8) & 0x60).toBe(0x60);
    expect(t.hit('tlbWrite', 0x1008)).toBe(t.memory.arenaOffsetOf(0x5008));
  });

  it('leaves them alone when the access faults', () => {
    t.long();
    t.memory.write32(PT + 8, 0x5000 | P | U);
    expect(t.mmu.translate(0x1008, 0, Access.WRITE, true)).toBe(false);
    expect(t.mmu.errorCode).toBe(PageFault.P | PageFault.W | PageFault.U);
    expect([PML4, PT + 8].map((a) => t.memory.read32(a) & 0x60)).toEqual([0, 0]);
  });

  it('tells the owner of code that a table in its page is about to change', () => {
    t.long();
    t.memory.write32(PT + 8, 0x5000 | P | W | U);
    const ptPage = t.memory.arenaOffsetOf(PT) / 4096;
    t.memory.setFlag(ptPage, PageFlag.CODE);
    const seen: number[] = [];
    t.memory.onCodeWrite = (at, length) => seen.push(at, length);
    t.mmu.translate(0x1000, 0, Access.READ, false);
    expect(seen).toEqual([t.memory.arenaOffsetOf(PT + 8), 4]);
  });
});

describe('what never enters the write table', () => {
  beforeEach(() => {
    t.long();
    t.memory.write32(PT + 8, 0x5000 | P | W | U);
  });
  const arenaPage = (): number => t.memory.arenaOffsetOf(0x5000) / 4096;

  it.each([
    ['CODE', PageFlag.CODE],
    ['WATCHED', PageFlag.WATCHED],
  ])('a %s page, before or after it was filled', (_name, flag) => {
    t.mmu.translate(0x1000, 0, Access.WRITE, false);
    expect(t.hit('tlbWrite', 0x1000)).toBeGreaterThan(0);
    t.memory.setFlag(arenaPage(), flag);
    expect(t.hit('tlbWrite', 0x1000)).toBe(-1);
    expect(t.hit('tlbRead', 0x1000)).toBeGreaterThan(0);
    t.mmu.translate(0x1000, 0, Access.WRITE, false);
    expect(t.hit('tlbWrite', 0x1000)).toBe(-1);
    t.memory.clearFlag(arenaPage(), flag);
    t.mmu.translate(0x1000, 0, Access.WRITE, false);
    expect(t.hit('tlbWrite', 0x1000)).toBeGreaterThan(0);
  });

  it('a clean page of the dirty log, until the first write', () => {
    t.mmu.translate(0x1000, 0, Access.WRITE, false);
    t.memory.dirtyLog.start();
    expect(t.hit('tlbWrite', 0x1000)).toBe(-1);
    t.mmu.translate(0x1000, 0, Access.READ, false);
    expect(t.hit('tlbWrite', 0x1000)).toBe(-1);
    t.mmu.translate(0x1000, 0, Access.WRITE, false);
    expect(t.hit('tlbWrite', 0x1000)).toBeGreaterThan(0);
    const page = arenaPage();
    expect((t.memory.dirtyLog.take()[page >>> 5]! >>> (page & 31)) & 1).toBe(1);
    expect(t.hit('tlbWrite', 0x1000)).toBe(-1);
  });

  it('a page with a data breakpoint, which does not enter the read table either', () => {
    t.mmu.translate(0x1000, 0, Access.WRITE, false);
    t.mmu.watches.arm(2, 0x1ff8, 0);
    expect([t.hit('tlbRead', 0x1000), t.hit('tlbWrite', 0x1000)]).toEqual([-1, -1]);
    t.mmu.translate(0x1000, 0, Access.WRITE, false);
    expect([t.hit('tlbRead', 0x1000), t.hit('tlbWrite', 0x1000)]).toEqual([-1, -1]);
    t.mmu.watches.disarm(2);
    t.mmu.translate(0x1000, 0, Access.WRITE, false);
    expect(t.hit('tlbWrite', 0x1000)).toBeGreaterThan(0);
  });

  it('a page whose mapping changed', () => {
    t.mmu.translate(0x1000, 0, Access.WRITE, false);
    t.memory.unmap(0x5000, 0x1000);
    expect(t.hit('tlbWrite', 0x1000)).toBe(-1);
    expect(t.mmu.translate(0x1000, 0, Access.WRITE, false)).toBe(true);
    expect(t.mmu.arenaOffset).toBe(-1);
  });
});

describe('memoryType', () => {
  it('combines the MTRRs with the PAT entry of the leaf', () => {
    t.long();
    t.memory.write32(PT + 8, 0x5000 | P | W | U);
    t.memory.write32(PT + 16, 0x6000 | P | W | U | 0x10);
    t.set('pat', 0x0007_0406);
    t.set('mtrrDefType', 0x806);
    expect([0x1000, 0x2000, 0x3000].map((linear) => t.mmu.memoryType(linear, 0))).toEqual([MemoryType.WB, MemoryType.UC, -1]);
    t.set('mtrrDefType', 0x804);
    expect(t.mmu.memoryType(0x1000, 0)).toBe(MemoryType.WT);
    t.set('mtrrDefType', 0);
    expect(t.mmu.memoryType(0x1000, 0)).toBe(MemoryType.UC);
    expect(t.memory.read32(PT + 8) & 0x20).toBe(0);
  });
});

describe('state', () => {
  it('keeps the PDPTE registers, and a load drops every translation', () => {
    t.set('cr0', Cr0.PE | Cr0.PG);
    t.set('cr4', Cr4.PAE);
    t.mmu.setContext();
    t.memory.write32(0x8000, PD | P);
    expect(t.mmu.writeCr3(0x8000, 0)).toBe(true);
    t.memory.write32(PD, PT | P | W);
    t.memory.write32(PT, 0x5000 | P | W);
    expect(t.mmu.translate(0, 0, Access.WRITE, false)).toBe(true);
    const saved = t.mmu.state.save();
    t.memory.write32(0x8000, 0);
    expect(t.mmu.translate(0, 0, Access.READ, false)).toBe(true);
    t.mmu.writeCr3(0x8000, 0);
    expect(t.mmu.translate(0, 0, Access.READ, false)).toBe(false);
    t.mmu.state.load(saved);
    expect(t.hit('tlbRead', 0)).toBe(-1);
    expect(t.mmu.translate(0, 0, Access.READ, false)).toBe(true);
    expect(t.mmu.physical).toBe(0x5000);
  });
});

describe('a second stage', () => {
  /** Guest-physical pages lie 0x10000 higher in physical memory; one table page is unreadable, one data page may only be read. */
  const stage = (refuse: number): SecondStage & { log: string[] } => {
    const log: string[] = [];
    return {
      log,
      rights: StageRights.READ,
      begin: () => undefined,
      peek: (address) => address + 0x1_0000,
      table: (address, write) => (
        log.push(`table ${address.toString(16)}${write ? ' write' : ''}`), (address & ~0xfff) === refuse ? -1 : address + 0x1_0000
      ),
      access: (address, type) => (log.push(`access ${address.toString(16)} ${type}`), (address & ~0xfff) === refuse ? -1 : address + 0x1_0000),
    };
  };

  beforeEach(() => {
    t.long();
    for (const [at, value] of [
      [PML4, PDPT | 7],
      [PDPT, PD | 7],
      [PD, PT | 7],
      [PT + 8, 0x5000 | 0x67],
    ] as const)
      t.memory.write32(at + 0x1_0000, value);
  });

  it('stands before every table access and the final one, and limits what is cached', () => {
    const second = stage(-1);
    t.mmu.secondStage = second;
    expect(t.mmu.translate(0x1008, 0, Access.READ, false)).toBe(true);
    expect(t.mmu.physical).toBe(0x1_5008);
    expect(second.log).toEqual([
      'table 1000',
      'table 2000',
      'table 3000',
      'table 4008',
      'access 5008 0',
      'table 1000 write',
      'table 2000 write',
      'table 3000 write',
    ]);
    expect([t.hit('tlbRead', 0x1008), t.hit('tlbWrite', 0x1008)]).toEqual([t.memory.arenaOffsetOf(0x1_5008), -1]);
  });

  it.each([[PML4], [PT], [0x5000]])('reports a refusal at %s as its own fault, and sets no flag', (refuse) => {
    t.mmu.secondStage = stage(refuse);
    expect(t.mmu.translate(0x1008, 0, Access.READ, false)).toBe(false);
    expect(t.mmu.fault).toBe(TranslationFault.SECOND_STAGE);
    expect(t.memory.read32(PML4 + 0x1_0000) & 0x20).toBe(0);
  });
});

describe('a shared arena', () => {
  it('takes A and D updates by compare-exchange', () => {
    const arena = createArena({ bytes: 8 << 20, shared: true });
    const memory = new PhysicalMemory({ arena });
    memory.mapRam(0, 0x10000, arena.allocate('ram', 0x10000, 4096));
    memory.write32(0x100, 5);
    expect([memory.compareExchange32(0x100, 5, 0x65), memory.compareExchange32(0x100, 5, 9), memory.read32(0x100)]).toEqual([true, false, 0x65]);
  });
});
