/** Makes a vCPU with SVM, fills in a VMCB with two mistakes, and asks what VMRUN would say. Run: tsx --conditions=@nestvm/source examples/lint-vmcb.ts */
import { createDeterministicRandom, reset, Vcpu } from '@nestvm/cpu';
import { vcpuState } from '@nestvm/isa';
import { parseCpu } from '@nestvm/isa/models';
import { createArena, PhysicalMemory } from '@nestvm/memory';
import { Mmu } from '@nestvm/mmu';
import { attachSvm, lintVmcb, Vmcb } from '@nestvm/svm';

const arena = createArena({ bytes: 2 ** 23 });
const memory = new PhysicalMemory({ arena });
memory.mapRam(0, 2 ** 20, arena.allocate('ram', 2 ** 20, 4096));
const base = arena.allocate('vcpu', vcpuState.size, 16);
const mmu = new Mmu({ memory, vcpuBase: base });
const cpu = new Vcpu({
  index: 0,
  buffer: arena.memory.buffer,
  base,
  mmu,
  memory,
  ports: { read: () => 0xff, write: () => {} },
  clock: { nowNs: () => 0 },
  model: parseCpu('EPYC,svm=on', undefined, { nested: true }),
  random: createDeterministicRandom(1),
});
// In a machine this follows the creation of the vCPU, before its reset.
const svm = attachSvm(cpu, { memory, mmu });
reset(cpu);

// A VMCB at 0x30000 that intercepts VMRUN, with ASID 0 and without EFER.SVME.
const vmcb = 0x30000;
memory.write32(vmcb + 4 * (Vmcb.INTERCEPTS + 1), 1);
memory.write32(vmcb + 4 * Vmcb.CR0, 0x10);
for (const line of lintVmcb(cpu, vmcb)) console.log(line);
console.log(`${svm.counters.entries} entries so far`);
