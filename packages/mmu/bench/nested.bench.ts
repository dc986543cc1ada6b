import { Cr0, Cr4, Efer } from '@nestvm/isa';
import { bench, describe } from 'vitest';
import { Access, createGuestSpace, Paging, SpaceMode, Stage } from '../src/index.js';
import { createGuest, World } from '../test/world.js';

/** A 64-bit guest of 2 MiB under EPT, both stages with four levels and 4 KiB pages. */
function createNested(): { world: World; space: ReturnType<typeof createGuestSpace> } {
  const { arena, memory } = createGuest();
  const world = new World(arena, memory, { maxPhysicalAddress: 40, pages1g: true });
  for (const [at, value] of [
    [0x1000, 0x2067],
    [0x2000, 0x3067],
    [0x3000, 0x4067],
    [0x6000, 0x7107],
    [0x7000, 0x8107],
    [0x8000, 0x9107],
  ] as const) {
    memory.write32(at, value);
  }
  for (let i = 0; i < 512; i++) {
    memory.write32(0x4000 + i * 8, (i << 12) | 0x67);
    memory.write32(0x9000 + i * 8, (i << 12) | 0x337);
  }
  Object.assign(world.registers, { cr0: Cr0.PE | Cr0.PG, cr4: Cr4.PAE | Cr4.PCIDE, efer: Efer.LMA | Efer.LME, cr3: 0x1000n });
  world.apply();
  const space = createGuestSpace();
  Object.assign(space, { tag: 1, stage: Stage.EPT, root: 0x6000, paging: Paging.LEVEL4, modes: SpaceMode.ACCESSED_DIRTY });
  return { world, space };
}

const TIMES = 10_000;

describe(`${TIMES} times, under EPT`, () => {
  const { world, space } = createNested();
  const { mmu } = world;
  const inside = createNested();
  inside.world.mmu.enterGuest(inside.space);

  bench('enter guest mode and leave it', () => {
    for (let i = 0; i < TIMES; i++) {
      mmu.enterGuest(space);
      mmu.leaveGuest();
    }
  });

  bench('translate a 4 KiB page through both stages (warm caches)', () => {
    for (let i = 0; i < TIMES; i++) inside.world.mmu.translate((i & 15) << 12, 0, Access.READ, false);
  });

  bench('translate a 4 KiB page after INVLPG', () => {
    for (let i = 0; i < TIMES; i++) {
      inside.world.mmu.invalidatePage((i & 15) << 12, 0);
      inside.world.mmu.translate((i & 15) << 12, 0, Access.READ, false);
    }
  });

  bench('translate a 4 KiB page after INVEPT (24 loads)', () => {
    for (let i = 0; i < TIMES; i++) {
      inside.world.mmu.invalidateRoot(0x6000);
      inside.world.mmu.translate((i & 15) << 12, 0, Access.READ, false);
    }
  });
});
