import { PortSpace } from '@nestvm/bus';
import { createDeterministicRandom, Engine, Interpreter, reset, Vcpu } from '@nestvm/cpu';
import { vcpuState } from '@nestvm/isa';
import { parseCpu } from '@nestvm/isa/models';
import { createArena, PhysicalMemory } from '@nestvm/memory';
import { Mmu } from '@nestvm/mmu';

const arena = createArena({ bytes: 64 << 20 });
const memory = new PhysicalMemory({ arena });
memory.mapRam(0xffff_0000, 0x1_0000, arena.allocate('ram', 0x1_0000, 4096));
memory.write(0xffff_fff0, Uint8Array.of(0xb8, 40, 0, 0x83, 0xc0, 2, 0xf4)); // mov ax, 40; add ax, 2; hlt

const base = arena.allocate('vcpu 0', vcpuState.size, 64);
const mmu = new Mmu({ memory, vcpuBase: base });
const parts = { mmu, memory, ports: new PortSpace(), clock: { nowNs: () => 0 }, random: createDeterministicRandom(1) };
const cpu = new Vcpu({ index: 0, buffer: arena.memory.buffer, base, model: parseCpu('max'), ...parts });
const executor = new Interpreter(cpu, new Engine(arena, memory));
reset(cpu);
console.log(executor.run(1000), executor.retired, cpu.w[vcpuState.offset.gpr / 4]);
