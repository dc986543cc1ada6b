import { createArena, PAGE_BYTES, PhysicalMemory } from '@nestvm/memory';

const arena = createArena({ bytes: 4 << 20 });
const memory = new PhysicalMemory({ arena });
const ramBytes = 1 << 20;
memory.mapRam(0, ramBytes, arena.allocate('ram', ramBytes, PAGE_BYTES));

memory.dirtyLog.start();
memory.write32(0x1234, 0xc0ffee);
memory.write(0x8000, new TextEncoder().encode('hello'));
const dirtyWords = memory.dirtyLog.take().filter((word) => word !== 0);
console.log(memory.read32(0x1234).toString(16), memory.read8(0x8001), memory.read32(0xdead_0000).toString(16));
console.log(dirtyWords.length, arena.allocations);
