import { createArena, PhysicalMemory } from '@nestvm/memory';
import { createCapabilities, EntryContext, explainEntry, F, lint, writeValidVmcs } from '@nestvm/vmx';

const arena = createArena({ bytes: 4 << 20 });
const memory = new PhysicalMemory({ arena });
memory.mapRam(0, 1 << 20, arena.allocate('ram', 1 << 20, 4096));
const c = new EntryContext(memory, createCapabilities({ has: () => false, physicalBits: 46, cr4: 0x20, generation: 'Haswell' }));
c.base = memory.arenaOffsetOf(0x1000) / 4; // the VMCS region, as a word of the arena
c.currentVmcs = 0x1000;

writeValidVmcs(c);
c.set(F.PIN_CONTROLS, 0x96); // process posted interrupts, and nothing that it needs
explainEntry(c, console.log);
console.log(
  lint(c)
    .filter((remark) => remark.severity === 'warning')
    .map((remark) => remark.id),
);
