import { Cr0, Cr4, Efer } from '@nestvm/isa';
import { beforeEach, describe, expect, it } from 'vitest';
import { createGuest, World } from './world.js';

/**
 * The rows of SDM Vol. 3, "Operations that Invalidate TLBs and Paging-Structure Caches": what each must forget, and what it should keep.
 * Page 1 of linear memory is an ordinary 4 KiB page, page 2 a global one; both are mapped alike in PCIDs 0, 5 and 6.
 */
const PAGE = 0x1000n;
const GLOBAL = 0x2000n;
const PCIDS = [0, 5, 6];

let world: World;

function writeCr3(pcid: number, keep: boolean): void {
  const lo = 0x1000 | pcid;
  world.registers.cr3 = BigInt(lo);
  if (!world.mmu.writeCr3(lo, keep ? 1 << 31 : 0)) throw new Error('MOV to CR3 refused');
}

/** Which of the pages a PCID can reach without a walk, as `p` (ordinary) and `g` (global); looks without disturbing. */
function cached(pcid: number): string {
  const home = Number(world.registers.cr3 & 0xfffn);
  writeCr3(pcid, true);
  const found = (world.lookup('read', PAGE) >= 0 ? 'p' : '') + (world.lookup('write', GLOBAL) >= 0 ? 'g' : '');
  writeCr3(home, true);
  return found;
}

function fillAll(): void {
  for (const pcid of PCIDS) {
    writeCr3(pcid, true);
    world.translate(world.access('read', PAGE));
    world.translate(world.access('write', GLOBAL));
  }
  writeCr3(5, true);
}

const state = (): string => PCIDS.map((pcid) => `${pcid}:${cached(pcid)}`).join(' ');

beforeEach(() => {
  const { arena, memory } = createGuest();
  world = new World(arena, memory, { maxPhysicalAddress: 40, pages1g: true });
  for (const [address, value] of [
    [0x1000, 0x2007],
    [0x2000, 0x3007],
    [0x3000, 0x4007],
    [0x4008, 0x5007],
    [0x4010, 0x6107],
  ] as const)
    memory.write32(address, value);
  Object.assign(world.registers, { cr0: Cr0.PE | Cr0.PG, cr4: Cr4.PAE | Cr4.PCIDE | Cr4.PGE, efer: Efer.LMA | Efer.LME, cr3: 0x1000n });
  world.apply();
  fillAll();
});

const changeCr4 = (bits: number): void => {
  world.registers.cr4 ^= bits;
  world.apply();
};

/** Name, operation (PCID 5 is current), and what each PCID has left: a string, or for rows that may keep less than the manual allows, what is kept here. */
const ROWS: readonly (readonly [string, () => void, string])[] = [
  ['INVLPG', () => world.mmu.invalidatePage(Number(PAGE), 0), '0:g 5:g 6:g'],
  ['INVLPG of a global page', () => world.mmu.invalidatePage(Number(GLOBAL) + 0x123, 0), '0:p 5:p 6:p'],
  ['INVLPG of another page in the same slot', () => world.mmu.invalidatePage(Number(PAGE) + 0x40_0000, 0), '0:pg 5:pg 6:pg'],
  ['INVLPG of the same page 4 GiB higher', () => world.mmu.invalidatePage(Number(PAGE), 1), '0:pg 5:pg 6:pg'],
  ['INVPCID 0', () => world.mmu.invpcid(0, 6, Number(PAGE), 0), '0:pg 5:pg 6:g'],
  ['INVPCID 1', () => world.mmu.invpcid(1, 6, 0, 0), '0:pg 5:pg 6:'],
  ['INVPCID 1 of the current PCID', () => world.mmu.invpcid(1, 5, 0, 0), '0:pg 5: 6:pg'],
  ['INVPCID 2', () => world.mmu.invpcid(2, 0, 0, 0), '0: 5: 6:'],
  ['INVPCID 3', () => world.mmu.invpcid(3, 0, 0, 0), '0: 5: 6:'],
  ['MOV to CR3, bit 63 clear', () => writeCr3(5, false), '0:pg 5: 6:pg'],
  ['MOV to CR3, bit 63 clear, other PCID', () => writeCr3(6, false), '0:pg 5:pg 6:'],
  ['MOV to CR3, bit 63 set', () => writeCr3(6, true), '0:pg 5:pg 6:pg'],
  ['MOV to CR4, PGE changed', () => changeCr4(Cr4.PGE), '0: 5: 6:'],
  [
    'MOV to CR4, PGE changed twice',
    () => {
      changeCr4(Cr4.PGE);
      changeCr4(Cr4.PGE);
    },
    '0: 5: 6:',
  ],
  [
    'MOV to CR4, SMEP on and off',
    () => {
      changeCr4(Cr4.SMEP);
      changeCr4(Cr4.SMEP);
    },
    '0: 5: 6:',
  ],
  [
    'MOV to CR4, SMAP on and off',
    () => {
      changeCr4(Cr4.SMAP);
      changeCr4(Cr4.SMAP);
    },
    '0:pg 5:pg 6:pg',
  ],
  [
    'MOV to CR4, PKE on and off',
    () => {
      changeCr4(Cr4.PKE);
      changeCr4(Cr4.PKE);
    },
    '0:pg 5:pg 6:pg',
  ],
  [
    'MOV to CR0, PG off and on',
    () => {
      world.registers.cr0 ^= Cr0.PG;
      world.apply();
      world.registers.cr0 ^= Cr0.PG;
      world.apply();
    },
    '0: 5: 6:',
  ],
  [
    'MOV to CR0, WP on and off',
    () => {
      world.registers.cr0 ^= Cr0.WP;
      world.apply();
      world.registers.cr0 ^= Cr0.WP;
      world.apply();
    },
    '0:pg 5:pg 6:pg',
  ],
  [
    'CPL to 3 and back',
    () => {
      world.registers.cpl = 3;
      world.apply();
      world.registers.cpl = 0;
      world.apply();
    },
    '0:pg 5:pg 6:pg',
  ],
  [
    'EFLAGS.AC set and cleared',
    () => {
      world.registers.ac = true;
      world.apply();
      world.registers.ac = false;
      world.apply();
    },
    '0:pg 5:pg 6:pg',
  ],
  [
    'a page fault on the page',
    () => {
      world.memory.write32(0x4008, 0);
      world.translate(world.access('write', PAGE));
    },
    '0:pg 5:g 6:pg',
  ],
  ['a change of the physical map', () => world.memory.unmap(0xf000, 0x1000), '0: 5: 6:'],
  ['reset', () => world.mmu.forgetEverything(), '0: 5: 6:'],
];

describe('what an operation invalidates', () => {
  it('everything is cached before', () => {
    expect(state()).toBe('0:pg 5:pg 6:pg');
  });

  it.each(ROWS)('%s', (_name, operation, left) => {
    operation();
    expect(state()).toBe(left);
  });

  it('turning CR4.PCIDE off drops every PCID', () => {
    writeCr3(0, true);
    changeCr4(Cr4.PCIDE);
    changeCr4(Cr4.PCIDE);
    expect(state()).toBe('0: 5: 6:');
  });

  it('without PCIDs, MOV to CR3 drops the bank in force and those of other modes', () => {
    changeCr4(Cr4.PCIDE);
    writeCr3(0, false);
    for (const cpl of [0, 3]) {
      world.registers.cpl = cpl;
      world.apply();
      world.translate(world.access('read', PAGE));
      expect(world.lookup('read', PAGE)).toBeGreaterThan(0);
    }
    writeCr3(0, false);
    expect(world.lookup('read', PAGE)).toBe(-1);
    world.registers.cpl = 0;
    world.apply();
    expect(world.lookup('read', PAGE)).toBe(-1);
  });

  it('a stale bank comes back clean after others were used', () => {
    writeCr3(0, true);
    world.mmu.invpcid(1, 5, 0, 0);
    for (let pcid = 100; pcid < 140; pcid++) writeCr3(pcid, true);
    expect(state()).toBe('0: 5: 6:');
  });
});

describe('MOV to CR3 with reserved bits', () => {
  it.each([
    ['bit 40 with 40-bit addresses', Cr4.PAE, 1 << 8, false],
    ['bit 39', Cr4.PAE, 1 << 7, true],
    ['bit 63 without PCIDs', Cr4.PAE, 1 << 31, false],
    ['bit 63 with PCIDs', Cr4.PAE | Cr4.PCIDE, 1 << 31, true],
    ['bit 62', Cr4.PAE | Cr4.PCIDE, 1 << 30, false],
  ])('%s', (_name, cr4, hi, accepted) => {
    world.registers.cr4 = cr4;
    world.apply();
    expect(world.mmu.writeCr3(0x2000, hi)).toBe(accepted);
    const cr3 = world.readCr3();
    expect(cr3).toBe(accepted ? (BigInt(hi & 0x7fff_ffff) << 32n) | 0x2000n : 0x1005n);
  });
});

describe('large pages', () => {
  const LARGE = [
    ['2 MiB', 0x3000, 0xc000_0000n, 1n << 21n],
    ['1 GiB', 0x2000, 0x8000_0000n, 1n << 30n],
  ] as const;

  function fillPieces(table: number, linear: bigint): bigint[] {
    const { memory } = world;
    if (table === 0x3000) memory.write32(0x2000 + 3 * 8, 0x7007);
    memory.write32(table === 0x3000 ? 0x7000 : 0x2000 + 2 * 8, 0x87);
    memory.mapRam(0, 0x10000, memory.arenaOffsetOf(0));
    const pieces = [0n, 0x1000n, 0x7000n, 0xf000n].map((offset) => linear + offset);
    for (const piece of pieces) expect(world.translate(world.access('read', piece))).toBe(true);
    expect(pieces.filter((piece) => world.lookup('read', piece) >= 0)).toHaveLength(4);
    return pieces;
  }

  it.each(LARGE)('one INVLPG anywhere in a %s page forgets every piece of it', (_name, table, linear, bytes) => {
    const pieces = fillPieces(table, linear);
    world.mmu.invalidatePage(Number(linear + bytes - 1n) | 0, 0);
    expect(pieces.filter((piece) => world.lookup('read', piece) >= 0)).toHaveLength(0);
  });

  // "INVLPG and page faults ... invalidate all TLB entries corresponding to the translation specified by the paging structures" (SDM Vol. 3, "Details of TLB Use").
  it.each(LARGE)('a page fault in a %s page forgets every piece of it', (_name, table, linear) => {
    const pieces = fillPieces(table, linear);
    world.memory.write32(table === 0x3000 ? 0x7000 : 0x2000 + 2 * 8, 0);
    expect(world.translate(world.access('write', linear + 0x3000n))).toBe(false);
    expect(pieces.filter((piece) => world.lookup('read', piece) >= 0)).toHaveLength(0);
  });

  it('forgets the pieces in a bank of many entries too', () => {
    const pieces = fillPieces(0x3000, 0xc000_0000n);
    for (let i = 0; i < 300; i++) {
      world.mmu.invalidatePage(Number(PAGE), 0);
      world.translate(world.access('read', PAGE));
    }
    world.mmu.invalidatePage(0xc01f_f000 | 0, 0);
    expect([...pieces, PAGE].filter((piece) => world.lookup('read', piece) >= 0)).toEqual([PAGE]);
  });
});
