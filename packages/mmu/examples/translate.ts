import { Cr0, vcpuState } from '@nestvm/isa';
import { createArena, PhysicalMemory } from '@nestvm/memory';
import { Access, Mmu, PageFault } from '@nestvm/mmu';

const arena = createArena({ bytes: 4 << 20 });
const memory = new PhysicalMemory({ arena });
memory.mapRam(0, 1 << 20, arena.allocate('ram', 1 << 20, 4096));
const vcpuBase = arena.allocate('vcpu', vcpuState.size);
const mmu = new Mmu({ memory, vcpuBase });

memory.write32(0x1000 + 4, 0x2000 | 3); // page directory, entry 1: a table, writable
memory.write32(0x2000 + 4 * 5, 0x7000 | 1); // page table, entry 5: page 7, read-only
arena.i32[(vcpuBase + vcpuState.offset.cr0) / 4] = Cr0.PE | Cr0.PG | Cr0.WP;
mmu.setContext();
mmu.writeCr3(0x1000, 0);

console.log(mmu.translate(0x40_5123, 0, Access.READ, false), mmu.physical.toString(16));
const written = mmu.translate(0x40_5123, 0, Access.WRITE, false);
console.log(written, mmu.errorCode === (PageFault.P | PageFault.W));
