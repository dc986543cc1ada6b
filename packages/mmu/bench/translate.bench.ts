import { Cr0, Cr4, Efer } from '@nestvm/isa';
import { bench, describe } from 'vitest';
import { Access } from '../src/index.js';
import { createGuest, World } from '../test/world.js';

/** A 64-bit guest with PCIDs whose first 2 MiB are mapped by 4 KiB pages. */
function createWorld(): World {
  const { arena, memory } = createGuest();
  const world = new World(arena, memory, { maxPhysicalAddress: 40, pages1g: true });
  for (const [at, value] of [
    [0x1000, 0x2067],
    [0x2000, 0x3067],
    [0x3000, 0x4067],
  ] as const) {
    memory.write32(at, value);
  }
  for (let i = 0; i < 512; i++) memory.write32(0x4000 + i * 8, ((i & 15) << 12) | 0x67);
  Object.assign(world.registers, { cr0: Cr0.PE | Cr0.PG, cr4: Cr4.PAE | Cr4.PCIDE, efer: Efer.LMA | Efer.LME, cr3: 0x1000n });
  world.apply();
  return world;
}

/** Operations in one sample: one alone is below the clock's resolution. */
const TIMES = 10_000;

describe(`${TIMES} times`, () => {
  const { mmu } = createWorld();
  const world = createWorld();

  bench('translate a 4 KiB page (walk of 4 levels, fill)', () => {
    for (let i = 0; i < TIMES; i++) mmu.translate((i & 511) << 12, 0, Access.READ, false);
  });

  bench('change CPL and back (two switches of bank)', () => {
    for (let i = 0; i < TIMES; i++) {
      world.registers.cpl = 3;
      world.apply();
      world.registers.cpl = 0;
      world.apply();
    }
  });

  bench('MOV to CR3 that keeps (bit 63)', () => {
    for (let i = 0; i < TIMES; i++) world.mmu.writeCr3(0x1000 | (i & 7), 1 << 31);
  });

  bench('MOV to CR3 that flushes, one access after each', () => {
    for (let i = 0; i < TIMES; i++) {
      world.mmu.writeCr3(0x1000, 0);
      world.mmu.translate(0x1000, 0, Access.READ, false);
    }
  });

  bench('INVLPG', () => {
    for (let i = 0; i < TIMES; i++) world.mmu.invalidatePage((i & 511) << 12, 0);
  });
});
