import { Cr0, Cr4, Efer } from '@nestvm/isa';
import { beforeEach, describe, expect, it } from 'vitest';
import type { GuestSpace } from '../src/index.js';
import { createGuestSpace, Paging, SpaceMode, Stage, StageFaultKind, TranslationFault } from '../src/index.js';
import { createGuest, World } from './world.js';

/**
 * What each event must forget, and what it keeps (SDM Vol. 3, "Caching Translation Information" of the chapter on VMX; APM Vol. 2, "TLB Control"). Every context
 * has cached linear page 1 (`p`) under PCID 0 and guest-physical page 15 (`g`); "1A" is tag 1 under root A. 1A has cached page 1 under PCID 5 as well (`q`).
 */
const ROOT = { A: 0x6000, B: 0xa000 } as const;
const PAGE = 0x1000n;
const G = 0xf000;
const EPT_PT = 0x9000;

let world: World;
let kind: 'ept' | 'npt';

function space(name: string): GuestSpace {
  const made = createGuestSpace();
  made.tag = Number(name[0]);
  made.stage = kind === 'ept' ? Stage.EPT : Stage.NPT;
  made.root = name[1] === 'A' ? ROOT.A : ROOT.B;
  made.paging = Paging.LEVEL4;
  made.modes = SpaceMode.ACCESSED_DIRTY;
  return made;
}

const pcid = (value: number): void => {
  world.registers.cr3 = BigInt(0x1000 | value);
};

/** Goes to a context as a world switch does: registers first, nothing flushed. */
function go(name: string, at = 0): void {
  pcid(at);
  world.load();
  if (name === 'h') world.mmu.leaveGuest();
  else world.mmu.enterGuest(space(name));
}

const CONTEXTS = ['h', '0A', '1A', '1B', '2A'];

/** What every context has cached. The guest-physical page has been moved in the tables, so that a fresh walk gives another answer. */
function state(): string {
  const seen = CONTEXTS.map((name) => {
    go(name);
    let found = world.lookup('read', PAGE) >= 0 ? 'p' : '';
    if (name !== 'h' && world.mmu.guestPhysicalToPhysical(G, false) === G) found += 'g';
    if (name !== '1A') return `${name}:${found}`;
    go(name, 5);
    return `${name}:${found}${world.lookup('read', PAGE) >= 0 ? 'q' : ''}`;
  });
  return seen.join(' ');
}

function fillAll(): void {
  for (const name of CONTEXTS) {
    go(name);
    world.translate(world.access('read', PAGE));
    world.mmu.guestPhysicalToPhysical(G, false);
  }
  go('1A', 5);
  world.translate(world.access('read', PAGE));
  go('1A');
  world.memory.write32(EPT_PT + 15 * 8, leaf(14));
}

const leaf = (page: number): number => (page << 12) | (kind === 'ept' ? 0x337 : 0x67);

function setUp(which: 'ept' | 'npt'): void {
  kind = which;
  const { arena, memory } = createGuest();
  world = new World(arena, memory, { maxPhysicalAddress: 40, pages1g: true });
  const table = kind === 'ept' ? 0x107 : 0x67;
  const entries: [number, number][] = [
    [0x1000, 0x2067],
    [0x2000, 0x3067],
    [0x3000, 0x4067],
    [0x4008, 0x5067],
    [ROOT.A, 0x7000 | table],
    [ROOT.B, 0x7000 | table],
    [0x7000, 0x8000 | table],
    [0x8000, EPT_PT | table],
  ];
  for (let page = 0; page < 16; page++) entries.push([EPT_PT + page * 8, leaf(page)]);
  for (const [address, value] of entries) memory.write32(address, value);
  Object.assign(world.registers, { cr0: Cr0.PE | Cr0.PG, cr4: Cr4.PAE | Cr4.PCIDE | Cr4.PGE, efer: Efer.LMA | Efer.LME, cr3: 0x1000n });
  world.apply();
  fillAll();
}

const ALL = 'h:p 0A:pg 1A:pgq 1B:pg 2A:pg';
const changeCr4 = (bits: number): void => {
  world.registers.cr4 ^= bits;
  world.apply();
};

/** The page's entry is gone for one access. */
function faultAtPage(): void {
  const entry = world.memory.read32(0x4008);
  world.memory.write32(0x4008, 0);
  expect(world.translate(world.access('fetch', PAGE))).toBe(false);
  expect(world.mmu.fault).toBe(TranslationFault.PAGE_FAULT);
  world.memory.write32(0x4008, entry);
}

/** Name, operation (in 1A, PCID 0), what is left. */
const VMX: readonly (readonly [string, () => void, string])[] = [
  [
    'VM exit and entry with VPID',
    () => {
      go('h');
      go('1A');
    },
    ALL,
  ],
  ['VM entry or exit without VPID', () => world.mmu.invalidateTag(0), 'h: 0A:g 1A:pgq 1B:pg 2A:pg'],
  ['INVEPT 1', () => world.mmu.invalidateRoot(ROOT.A), 'h:p 0A: 1A: 1B:pg 2A:'],
  ['INVEPT 1 of another root', () => world.mmu.invalidateRoot(ROOT.B), 'h:p 0A:pg 1A:pgq 1B: 2A:pg'],
  ['INVEPT 2', () => world.mmu.invalidateAllRoots(), 'h:p 0A: 1A: 1B: 2A:'],
  ['INVVPID 0', () => world.mmu.invalidateTagPage(1, Number(PAGE), 0), 'h:p 0A:pg 1A:g 1B:g 2A:pg'],
  ['INVVPID 0 of another page', () => world.mmu.invalidateTagPage(1, 0x2000, 0), ALL],
  ['INVVPID 1', () => world.mmu.invalidateTag(1), 'h:p 0A:pg 1A:g 1B:g 2A:pg'],
  ['INVVPID 1 of another VPID', () => world.mmu.invalidateTag(2), 'h:p 0A:pg 1A:pgq 1B:pg 2A:g'],
  ['INVVPID 2', () => world.mmu.invalidateAllTags(false), 'h:p 0A:pg 1A:g 1B:g 2A:g'],
  ['INVVPID 3', () => world.mmu.invalidateTagNonGlobal(1), 'h:p 0A:pg 1A:g 1B:g 2A:pg'],
  ['INVLPG in the guest', () => world.mmu.invalidatePage(Number(PAGE), 0), 'h:p 0A:pg 1A:g 1B:g 2A:pg'],
  ['INVPCID 0 in the guest', () => world.mmu.invpcid(0, 5, Number(PAGE), 0), 'h:p 0A:pg 1A:pg 1B:pg 2A:pg'],
  ['INVPCID 2 in the guest', () => world.mmu.invpcid(2, 0, 0, 0), 'h:p 0A:pg 1A:g 1B:g 2A:pg'],
  ['MOV to CR3 in the guest', () => world.mmu.writeCr3(0x1000, 0), 'h:p 0A:pg 1A:gq 1B:g 2A:pg'],
  ['MOV to CR3 in the guest, bit 63 set', () => world.mmu.writeCr3(0x1000, 1 << 31), ALL],
  [
    'MOV to CR4 in the guest, PGE changed twice',
    () => {
      changeCr4(Cr4.PGE);
      changeCr4(Cr4.PGE);
    },
    'h:p 0A:pg 1A:g 1B:g 2A:pg',
  ],
  [
    'MOV to CR0 in the guest, PG off and on',
    () => {
      for (let i = 0; i < 2; i++) {
        world.registers.cr0 ^= Cr0.PG;
        world.apply();
      }
    },
    'h:p 0A:pg 1A:g 1B:g 2A:pg',
  ],
  ['INVPCID 1 in the guest', () => world.mmu.invpcid(1, 5, 0, 0), 'h:p 0A:pg 1A:pg 1B:pg 2A:pg'],
  ['INVPCID 3 in the guest', () => world.mmu.invpcid(3, 0, 0, 0), 'h:p 0A:pg 1A:g 1B:g 2A:pg'],
  ['a page fault in the guest', () => faultAtPage(), 'h:p 0A:pg 1A:gq 1B:g 2A:pg'],
  [
    'a page fault in root mode',
    () => {
      go('h');
      faultAtPage();
    },
    'h: 0A:g 1A:pgq 1B:pg 2A:pg',
  ],
  [
    'an EPT misconfiguration elsewhere',
    () => {
      world.memory.write32(EPT_PT + 12 * 8, leaf(12) & ~1);
      expect(world.mmu.guestPhysicalToPhysical(0xc000, false)).toBe(-1);
      expect(world.mmu.stageFault.kind).toBe(StageFaultKind.MISCONFIGURATION);
    },
    ALL,
  ],
  [
    'CR0 and CR4 that a world switch loads',
    () => {
      world.registers.cr4 ^= Cr4.PGE;
      go('h');
      world.registers.cr4 ^= Cr4.PGE;
      go('1A');
    },
    ALL,
  ],
  [
    'INVLPG in root mode',
    () => {
      go('h');
      world.mmu.invalidatePage(Number(PAGE), 0);
    },
    'h: 0A:g 1A:pgq 1B:pg 2A:pg',
  ],
  ['EPTP switching', () => go('1B'), ALL],
  ['INIT, reset', () => world.mmu.reset(), 'h: 0A: 1A: 1B: 2A:'],
  ['a change of the physical map', () => world.memory.unmap(0x10000, 0x1000), 'h: 0A: 1A: 1B: 2A:'],
];

describe('what an operation invalidates under EPT', () => {
  beforeEach(() => setUp('ept'));

  it('everything is cached before', () => {
    expect(state()).toBe(ALL);
  });

  it.each(VMX)('%s', (_name, operation, left) => {
    operation();
    expect(state()).toBe(left);
  });

  it('an EPT violation forgets the linear address in this VPID and PCID, and the guest-physical page', () => {
    world.memory.write32(EPT_PT + 5 * 8, 0);
    expect(world.translate(world.access('write', PAGE))).toBe(true);
    world.mmu.invalidateRoot(ROOT.A);
    go('1A');
    expect([world.translate(world.access('read', PAGE)), world.mmu.fault, world.mmu.stageFault.kind]).toEqual([
      false,
      TranslationFault.SECOND_STAGE,
      StageFaultKind.VIOLATION,
    ]);
    world.memory.write32(EPT_PT + 5 * 8, leaf(13));
    expect([world.translate(world.access('read', PAGE)), world.mmu.physical]).toEqual([true, 0xd000]);
  });

  it('a violation of a write drops what reads had cached, so that a copy on write is seen without INVEPT', () => {
    world.memory.write32(EPT_PT + 5 * 8, leaf(5) & ~2);
    world.mmu.invalidateRoot(ROOT.A);
    go('1A');
    expect(world.translate(world.access('read', PAGE))).toBe(true);
    expect(world.lookup('read', PAGE)).toBe(world.memory.arenaOffsetOf(0x5000));
    expect(world.translate(world.access('write', PAGE))).toBe(false);
    world.memory.write32(EPT_PT + 5 * 8, leaf(13));
    expect(world.lookup('read', PAGE)).toBe(-1);
    expect([world.translate(world.access('write', PAGE)), world.mmu.physical]).toEqual([true, 0xd000]);
  });

  it('an EPT violation forgets the guest-physical page for every VPID under its root, and under no other root', () => {
    const again = (name: string): number => {
      go(name);
      world.mmu.invalidateTagPage(Number(name[0]), Number(PAGE), 0);
      world.translate(world.access('read', PAGE));
      return world.mmu.physical;
    };
    world.memory.write32(EPT_PT + 5 * 8, leaf(5) & ~2);
    world.mmu.invalidateAllRoots();
    for (const name of ['2A', '1B', '1A']) expect(again(name)).toBe(0x5000);
    expect(world.translate(world.access('write', PAGE))).toBe(false);
    world.memory.write32(EPT_PT + 5 * 8, leaf(13));
    expect([again('2A'), again('1B')]).toEqual([0xd000, 0x5000]);
  });

  it.each([
    ['2 MiB', 0x8000],
    ['1 GiB', 0x7000],
  ])('an EPT violation in a %s page forgets every guest-physical page of it', (_name, entry) => {
    const other = space('1A');
    other.modes = SpaceMode.PAGES_2M | SpaceMode.PAGES_1G;
    const below = world.memory.read32(entry);
    world.memory.write32(entry, 0xb5);
    world.mmu.invalidateRoot(ROOT.A);
    world.mmu.enterGuest(other);
    expect(world.translate(world.access('read', PAGE))).toBe(true);
    expect(world.mmu.guestPhysicalToPhysical(0x6000, false)).toBe(0x6000);
    expect(world.translate(world.access('write', PAGE))).toBe(false);
    world.memory.write32(entry, below);
    world.memory.write32(EPT_PT + 6 * 8, leaf(13));
    expect(world.mmu.guestPhysicalToPhysical(0x6000, false)).toBe(0xd000);
  });

  it('INVEPT forgets the contexts of its root with accessed and dirty flags and those without', () => {
    const other = space('1A');
    other.modes = 0;
    world.mmu.enterGuest(other);
    world.translate(world.access('read', PAGE));
    go('h');
    world.mmu.invalidateRoot(ROOT.A);
    world.mmu.enterGuest(other);
    expect(world.lookup('read', PAGE)).toBe(-1);
    expect(state()).toBe('h:p 0A: 1A: 1B:pg 2A:');
  });

  it('accessed and dirty flags turned on make a new context', () => {
    const other = space('1A');
    other.modes = 0;
    world.mmu.enterGuest(other);
    expect(world.lookup('read', PAGE)).toBe(-1);
    world.translate(world.access('read', PAGE));
    world.mmu.enterGuest(space('1A'));
    expect(world.lookup('read', PAGE)).toBeGreaterThan(0);
  });

  it('more spaces than slots: one that was forgotten comes back empty, with nothing of another', () => {
    for (let tag = 10; tag < 100; tag++) {
      const other = space('1A');
      other.tag = tag;
      world.mmu.enterGuest(other);
      expect(world.lookup('read', PAGE)).toBe(-1);
      world.translate(world.access('read', PAGE));
    }
    go('1A');
    expect(world.lookup('read', PAGE)).toBe(-1);
  });
});

const SVM: readonly (readonly [string, () => void, string])[] = [
  [
    '#VMEXIT and VMRUN with TLB_CONTROL 0',
    () => {
      go('h');
      go('1A');
    },
    ALL,
  ],
  ['TLB_CONTROL 1', () => world.mmu.invalidateAllTags(true), 'h: 0A: 1A: 1B: 2A:'],
  ['TLB_CONTROL 3', () => world.mmu.invalidateTag(1), 'h:p 0A:pg 1A: 1B: 2A:pg'],
  ['TLB_CONTROL 7', () => world.mmu.invalidateTagNonGlobal(1), 'h:p 0A:pg 1A: 1B: 2A:pg'],
  ['INVLPGA', () => world.mmu.invalidateTagPage(2, Number(PAGE), 0), 'h:p 0A:pg 1A:pgq 1B:pg 2A:'],
  ['INVLPGA of the host (ASID 0)', () => world.mmu.invalidateTagPage(0, Number(PAGE), 0), 'h: 0A: 1A:pgq 1B:pg 2A:pg'],
  ['INVLPGA of another page', () => world.mmu.invalidateTagPage(2, 0x2000, 0), 'h:p 0A:pg 1A:pgq 1B:pg 2A:p'],
  ['INVLPG in the guest', () => world.mmu.invalidatePage(Number(PAGE), 0), 'h:p 0A:pg 1A:g 1B:g 2A:pg'],
  ['MOV to CR3 in the guest', () => world.mmu.writeCr3(0x1000, 0), 'h:p 0A:pg 1A:gq 1B:g 2A:pg'],
  [
    'MOV to CR4 in the guest, PGE changed twice',
    () => {
      changeCr4(Cr4.PGE);
      changeCr4(Cr4.PGE);
    },
    'h:p 0A:pg 1A:g 1B:g 2A:pg',
  ],
  ['a page fault in the guest', () => faultAtPage(), 'h:p 0A:pg 1A:gq 1B:g 2A:pg'],
  [
    'guest registers that the hypervisor changed (a new CR3 in the VMCB)',
    () => {
      go('h');
      go('1A', 5);
    },
    ALL,
  ],
  ['INIT, reset', () => world.mmu.reset(), 'h: 0A: 1A: 1B: 2A:'],
];

describe('what an operation invalidates under nested paging', () => {
  beforeEach(() => setUp('npt'));

  it.each(SVM)('%s', (_name, operation, left) => {
    operation();
    expect(state()).toBe(left);
  });

  it('a nested page fault forgets the linear address, and the guest-physical page of this ASID', () => {
    world.memory.write32(EPT_PT + 5 * 8, leaf(5) & ~2);
    world.mmu.invalidateAllTags(true);
    go('1A');
    expect(world.translate(world.access('read', PAGE))).toBe(true);
    expect(world.translate(world.access('write', PAGE))).toBe(false);
    expect([world.mmu.fault, world.lookup('read', PAGE)]).toEqual([TranslationFault.SECOND_STAGE, -1]);
    world.memory.write32(EPT_PT + 5 * 8, leaf(13));
    expect([world.translate(world.access('read', PAGE)), world.mmu.physical]).toEqual([true, 0xd000]);
  });
});
