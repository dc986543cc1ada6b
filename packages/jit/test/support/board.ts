import { PortSpace } from '@nestvm/bus';
import { createDeterministicRandom, Engine, Interpreter, reset, updateMode, Vcpu } from '@nestvm/cpu';
import { Gpr, Segment, vcpuState } from '@nestvm/isa';
import { parseCpu } from '@nestvm/isa/models';
import { createArena, PhysicalMemory } from '@nestvm/memory';
import { Mmu } from '@nestvm/mmu';

const RAM_BYTES = 1 << 20;
const PRESENT_WRITABLE_LARGE = 0x83n;
const LARGE_PAGE = 2 << 20;
const PML4 = 0x1000;

/** Where things are in the board's memory, which is mapped one to one. */
export const At = { CODE: 0x10000, STACK: 0x30000, DATA: 0x40000, DATA_BYTES: 0x4000 } as const;

type Clock = ConstructorParameters<typeof Vcpu>[0]['clock'];

const STOPPED: Clock = { nowNs: () => 0 };

interface BoardOptions {
  readonly ramBytes?: number;
  /** Name of the CPU model. */
  readonly model?: string;
  readonly clock?: Clock;
}

/** One vCPU in 64-bit mode at level 0, with a megabyte of memory (unless told otherwise) and nothing else. */
export function createBoard(code: ArrayLike<number>, { ramBytes = RAM_BYTES, model: name = 'max', clock = STOPPED }: BoardOptions = {}) {
  const arena = createArena({ bytes: (96 << 20) + ramBytes });
  const memory = new PhysicalMemory({ arena });
  const ram = arena.allocate('ram', ramBytes, 4096);
  memory.mapRam(0, ramBytes, ram);
  const base = arena.allocate('vcpu 0', vcpuState.size, 64);
  const model = parseCpu(name);
  const mmu = new Mmu({ memory, vcpuBase: base, maxPhysicalAddress: model.physicalBits, pages1g: true });
  const parts = { mmu, memory, ports: new PortSpace(), clock, random: createDeterministicRandom(1) };
  const cpu = new Vcpu({ index: 0, buffer: arena.memory.buffer, base, model, ...parts });
  const engine = new Engine(arena, memory);
  const executor = new Interpreter(cpu, engine);
  const view = new DataView(arena.memory.buffer);
  for (const [at, value] of [
    [PML4, 0x2003n],
    [0x2000, 0x3003n],
    [0x3000, PRESENT_WRITABLE_LARGE],
  ] as const)
    view.setBigUint64(ram + at, value, true);
  for (let at = LARGE_PAGE; at < ramBytes; at += LARGE_PAGE)
    view.setBigUint64(ram + 0x3000 + (at / LARGE_PAGE) * 8, BigInt(at) | PRESENT_WRITABLE_LARGE, true);
  memory.write(At.CODE, Uint8Array.from(code));

  const restart = (): void => {
    reset(cpu);
    cpu.set64('cr0', 0x80050033n);
    cpu.set64('cr3', BigInt(PML4));
    cpu.set64('cr4', 0x620n);
    cpu.set64('efer', 0xd01n);
    for (const segment of [Segment.ES, Segment.CS, Segment.SS, Segment.DS, Segment.FS, Segment.GS]) {
      cpu.set64('segBase', 0n, segment);
      cpu.set32('segLimit', 0xffffffff, segment);
      cpu.set32('segAttributes', segment === Segment.CS ? 0xa09b : 0xc093, segment);
    }
    cpu.setGpr(Gpr.RSP, BigInt(At.STACK));
    cpu.rip = BigInt(At.CODE);
    // As after FNINIT.
    cpu.set32('fcw', 0x37f);
    updateMode(cpu);
  };
  restart();
  return {
    cpu,
    engine,
    mmu,
    executor,
    memory,
    restart,
    /** A register's value, by its name. */
    register: (name: keyof typeof Gpr): bigint => view.getBigUint64(base + vcpuState.offset.gpr + 8 * Gpr[name], true),
    /** The board's memory. */
    ram: new Uint8Array(arena.memory.buffer, ram, ramBytes),
    /** The vCPU's state in memory. */
    state: new Uint8Array(arena.memory.buffer, base, vcpuState.size),
  };
}

/** See `createBoard`. */
export type Board = ReturnType<typeof createBoard>;
