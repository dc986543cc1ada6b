import { MmioSpace, PortSpace } from '@nestvm/bus';
import { createDeterministicRandom, Engine, Interpreter, reset, updateMode, Vcpu } from '@nestvm/cpu';
import { vcpuState } from '@nestvm/isa';
import { parseCpu } from '@nestvm/isa/models';
import { createArena, PhysicalMemory } from '@nestvm/memory';
import { Mmu } from '@nestvm/mmu';

/** Where code begins, and where the handler of #DB does. */
export const CODE = 0x1000;
const HANDLER = 0x2000;

/** A vCPU in real mode with 64 KiB of RAM. */
export interface RealMode {
  readonly cpu: Vcpu;
  readonly mmio: MmioSpace;
  readonly run: () => void;
  /** Runs for at most so many instructions; says why it stopped. */
  readonly runFor: (instructions: number) => string;
  readonly word: (at: number) => number;
  readonly write: (at: number, ...bytes: number[]) => void;
}

/** A machine in real mode, with a handler for #DB. */
export function realMode(code: readonly number[], handler: readonly number[]): RealMode {
  const arena = createArena({ bytes: 64 << 20 });
  const mmio = new MmioSpace();
  const memory = new PhysicalMemory({ arena, mmio });
  const ram = arena.allocate('guest RAM', 0x10000, 4096);
  memory.mapRam(0, 0x10000, ram);
  const base = arena.allocate('vcpu 0', vcpuState.size, 64);
  const model = parseCpu('EPYC');
  const mmu = new Mmu({ memory, vcpuBase: base, maxPhysicalAddress: model.physicalBits, pages1g: true });
  const ports = new PortSpace();
  const cpu = new Vcpu({
    index: 0,
    buffer: arena.memory.buffer,
    base,
    mmu,
    memory,
    ports,
    clock: { nowNs: () => 0 },
    model,
    random: createDeterministicRandom(1),
  });
  const interpreter = new Interpreter(cpu, new Engine(arena, memory));
  reset(cpu);
  memory.write(4, Uint8Array.of(HANDLER & 0xff, HANDLER >> 8, 0, 0));
  memory.write(HANDLER, Uint8Array.from(handler));
  memory.write(CODE, Uint8Array.from(code));
  cpu.w[(vcpuState.offset.segBase >>> 2) + 2] = 0;
  cpu.h[(vcpuState.offset.segSelector >>> 1) + 1] = 0;
  cpu.set64('rip', BigInt(CODE));
  cpu.setGpr(4, 0x800n);
  cpu.set32('rflags', 2);
  updateMode(cpu);
  return {
    cpu,
    mmio,
    write: (at, ...bytes) => memory.write(at, Uint8Array.from(bytes)),
    run: () => {
      for (let i = 0; i < 50 && interpreter.run(1000) !== 'idle'; i++);
    },
    runFor: (instructions) => interpreter.run(instructions),
    word: (at) => memory.read16(at),
  };
}
