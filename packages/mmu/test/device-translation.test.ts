import { vcpuState } from '@nestvm/isa';
import { createArena, PhysicalMemory } from '@nestvm/memory';
import { describe, expect, it } from 'vitest';
import { Access, Mmu } from '../src/index.js';

const at = vcpuState.offset;
const ENTRY = 0x4000;
/** Past the RAM. */
const DEVICES = [0xf000_0000, 0xf000_1000] as const;
const LINEAR = 0;

function board(): { mmu: Mmu; map: (physical: number, flags?: number) => void; set: (field: keyof typeof at, value: number) => void } {
  const arena = createArena({ bytes: 8 << 20 });
  const memory = new PhysicalMemory({ arena });
  memory.mapRam(0, 0x10000, arena.allocate('ram', 0x10000, 4096));
  const base = arena.allocate('vcpu', vcpuState.size, 16);
  const set = (field: keyof typeof at, value: number): void => void (arena.i32[(base + at[field]) / 4] = value);
  for (const table of [0x1000, 0x2000, 0x3000]) memory.write32(table, (table + 0x1000) | 0x27);
  const map = (physical: number, flags = 0x67): void => {
    memory.write32(ENTRY, (physical | flags) >>> 0);
    memory.write32(ENTRY + 4, 0);
  };
  map(DEVICES[0]);
  set('cr0', 0x8005_0033 | 0);
  set('cr3', 0x1000);
  set('cr4', 0x6a0);
  set('efer', 0xd01);
  set('a20Mask', -1);
  const mmu = new Mmu({ memory, vcpuBase: base });
  mmu.setContext();
  return { mmu, map, set };
}

/** Where an access comes to: its physical address, or -1 for a fault. */
const lead = (mmu: Mmu, access: number = Access.READ, user = false): number => (mmu.translate(LINEAR | 8, 0, access, user) ? mmu.physical : -1);

describe('the translation of the page of a device', () => {
  it('is kept, and asked for by what is asked', () => {
    const { mmu, map } = board();
    expect(lead(mmu)).toBe(DEVICES[0] + 8);
    // The table says something else now; nobody has forgotten the page.
    map(DEVICES[1]);
    expect(lead(mmu)).toBe(DEVICES[0] + 8);
    expect(mmu.arenaOffset).toBe(-1);
    expect(lead(mmu, Access.WRITE)).toBe(DEVICES[1] + 8);
    expect(lead(mmu, Access.WRITE, true)).toBe(DEVICES[1] + 8);
  });

  it.each([
    ['INVLPG', (mmu: Mmu) => mmu.invalidatePage(LINEAR, 0)],
    ['a flush', (mmu: Mmu) => mmu.flushAll()],
    ['MOV to CR3', (mmu: Mmu) => void mmu.writeCr3(0x1000, 0)],
    ['INVPCID', (mmu: Mmu) => mmu.invpcid(0, 0, LINEAR, 0)],
  ])('is forgotten by %s', (_, forget) => {
    const { mmu, map } = board();
    lead(mmu);
    map(DEVICES[1]);
    forget(mmu);
    expect(lead(mmu)).toBe(DEVICES[1] + 8);
  });

  it('is forgotten by a page fault there, and not used under other rights', () => {
    const { mmu, map, set } = board();
    map(DEVICES[0], 0x63);
    expect(lead(mmu)).toBe(DEVICES[0] + 8);
    expect(lead(mmu, Access.READ, true)).toBe(-1);
    map(DEVICES[1], 0x63);
    expect(lead(mmu)).toBe(DEVICES[1] + 8);
    map(DEVICES[0], 0x67);
    set('cpl', 3);
    mmu.setContext();
    expect(lead(mmu, Access.READ, true)).toBe(DEVICES[0] + 8);
  });
});
