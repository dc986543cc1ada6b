import { createArena, PhysicalMemory } from '@nestvm/memory';
import { combine, formatShadow, Paging, SpaceMode, Stage } from '@nestvm/mmu';

const arena = createArena({ bytes: 4 << 20 });
const memory = new PhysicalMemory({ arena });
memory.mapRam(0, 1 << 20, arena.allocate('ram', 1 << 20, 4096));

// EPT at 0x10000: guest-physical 0-2 MiB lies at physical 0-2 MiB in 4 KiB pages, page 7 may only be read.
for (let level = 0; level < 3; level++) memory.write32(0x10000 + level * 4096, (0x11000 + level * 4096) | 7);
for (let page = 0; page < 512; page++) memory.write32(0x13000 + page * 8, (page << 12) | 0x30 | (page === 7 ? 1 : 7));
// The guest maps linear 0x5000 to its page 7: 32-bit tables at 0x1000 and 0x2000.
memory.write32(0x1000, 0x2000 | 7);
memory.write32(0x2000 + 5 * 4, 0x7000 | 7);

const nested = { stage: Stage.EPT, root: 0x10000, paging: Paging.LEVEL4, modes: SpaceMode.ACCESSED_DIRTY };
const shadow = combine({ memory, guest: { paging: Paging.LEGACY32, cr3: 0x1000 }, nested }, 0x5123, 0);
console.log(formatShadow(shadow).join('\n'));
console.log(`a change of the EPT is seen after: ${shadow.droppedBy.nested.join(', ')}`);
