import { type Assembler, asm64 } from '@nestvm/assembler';
import { PortSpace } from '@nestvm/bus';
import { createDeterministicRandom, Engine, Interpreter, reset, type Stop, updateMode, Vcpu } from '@nestvm/cpu';
import { Cr0, Cr4, Efer, Segment, vcpuState } from '@nestvm/isa';
import { parseCpu } from '@nestvm/isa/models';
import { createArena, PhysicalMemory } from '@nestvm/memory';
import { Mmu } from '@nestvm/mmu';
import { attachVmx } from '../src/attach.js';
import { writeValidVmcs } from '../src/checks/arrange.js';
import { EntryContext } from '../src/checks/context.js';
import { F, VmcsHeader } from '../src/fields/layout.js';
import type { Vmx } from '../src/vmx.js';

/** Where things are: physical addresses, mapped one to one by the tables at CR3 for L1 and (as linear addresses) for L2. */
export const Place = {
  VMCS: 0x1000,
  CR3: 0x3000,
  PDPT: 0x2_1000,
  DIRECTORY: 0x2_2000,
  VMXON: 0x2_3000,
  L1: 0x3_0000,
  L1_EXIT: 0x3_0800,
  L2: 0x3_1000,
  L1_STACK: 0x3_3000,
  L2_STACK: 0x3_4000,
  DATA: 0x3_5000,
} as const;

/** An L1 in 64-bit mode that has executed VMXON and has a current VMCS; L2 code and VMCS fields are the test's. */
export interface Level {
  readonly cpu: Vcpu;
  readonly vmx: Vmx;
  readonly memory: PhysicalMemory;
  /** The VMCS, as the checks see it. */
  readonly c: EntryContext;
  /** Assembles L2's code; it runs from `Place.L2` at CPL 0 in 64-bit mode. */
  guest(code: (a: Assembler) => void): void;
  /** VMLAUNCH or VMRESUME in L1, until L1 halts after the VM exit; gives the exit reason, or minus the VM-instruction error. */
  enter(): number;
  /** Puts VMLAUNCH where `launch` runs it: many launches without assembling. */
  prepareLaunch(): void;
  /** Puts L1 code where `launch` runs it, or elsewhere. */
  prepareHost(code: string, address?: number): void;
  /** Runs the prepared VMLAUNCH, for at most a thousand instructions of either level. */
  launch(): void;
  /** Runs L1 code and gives RFLAGS after it; -1 when L1 shut down (it has no IDT: any fault). */
  host(code: string): number;
  /** Runs until something stops the machine. */
  run(): Stop;
  /** Sets a 64-bit word of the state: `gpr` 0 is RAX. */
  readonly w: Int32Array;
}

const RIP = vcpuState.offset.rip / 4;
const RSP = vcpuState.offset.gpr / 4 + 8;
const R15 = vcpuState.offset.gpr / 4 + 30;

function createCpu(cpuText: string): { cpu: Vcpu; executor: Interpreter; memory: PhysicalMemory; vmx: Vmx } {
  const arena = createArena({ bytes: 64 << 20 });
  const memory = new PhysicalMemory({ arena });
  memory.mapRam(0, 4 << 20, arena.allocate('ram', 4 << 20, 4096));
  const base = arena.allocate('vcpu 0', vcpuState.size, 64);
  const mmu = new Mmu({ memory, vcpuBase: base });
  let now = 0;
  const clock = { nowNs: () => (now += 1000), createTimer: () => ({ arm: () => undefined, cancel: () => undefined }) };
  const model = parseCpu(cpuText, undefined, { nested: true });
  const cpu = new Vcpu({
    index: 0,
    buffer: arena.memory.buffer,
    base,
    model,
    mmu,
    memory,
    ports: new PortSpace(),
    clock,
    random: createDeterministicRandom(1),
  });
  const vmx = attachVmx(cpu, { memory, mmu, clock });
  const executor = new Interpreter(cpu, new Engine(arena, memory));
  reset(cpu);
  return { cpu, executor, memory, vmx };
}

/** 64-bit mode at CPL 0 with one-to-one tables of 2-MByte pages, as if firmware and a loader had been there. */
function enterLongMode(cpu: Vcpu, memory: PhysicalMemory): void {
  memory.write32(Place.CR3, Place.PDPT | 7);
  memory.write32(Place.PDPT, Place.DIRECTORY | 7);
  memory.write32(Place.DIRECTORY, 0x87);
  memory.write32(Place.DIRECTORY + 8, 0x20_0087);
  const { offset } = vcpuState;
  const set = (name: 'cr0' | 'cr3' | 'cr4' | 'efer', value: number): void => void (cpu.w[offset[name] / 4] = value);
  set('cr0', Cr0.PE | Cr0.PG | Cr0.NE | Cr0.ET | Cr0.WP);
  set('cr4', (Cr4.PAE | Cr4.VMXE | Cr4.OSFXSR | Cr4.OSXSAVE) & cpu.features.cr4);
  set('cr3', Place.CR3);
  set('efer', Efer.LME | Efer.LMA | Efer.SCE | Efer.NXE);
  for (const segment of [Segment.ES, Segment.CS, Segment.SS, Segment.DS, Segment.FS, Segment.GS]) {
    cpu.w[offset.segAttributes / 4 + segment] = segment === Segment.CS ? 0xa09b : 0xc093;
    cpu.w[offset.segLimit / 4 + segment] = -1;
    cpu.w[offset.segBase / 4 + 2 * segment] = 0;
    cpu.w[offset.segBase / 4 + 2 * segment + 1] = 0;
  }
  cpu.w[offset.cpl / 4] = 0;
  updateMode(cpu);
}

/** A vCPU with VMX whose L1 is ready to launch. */
export function createLevel(cpuText = 'host', on = true): Level {
  const { cpu, executor, memory, vmx } = createCpu(cpuText);
  enterLongMode(cpu, memory);
  const run = (): Stop => executor.run(100_000);
  const jump = (address: number): void => {
    cpu.w[RIP] = address;
    cpu.w[RIP + 1] = 0;
    cpu.w[vcpuState.offset.activity / 4] = 0;
  };
  const put = (address: number, code: (a: Assembler) => void): void => memory.write(address, asm64(code, { origin: address }).bytes);
  for (const page of [Place.VMXON, Place.VMCS]) memory.write32(page, vmx.capabilities.revision);
  memory.write32(Place.DATA, Place.VMXON);
  memory.write32(Place.DATA + 8, Place.VMCS);
  put(Place.L1, (a) => a.text(`vmxon qword [${Place.DATA}]\nvmclear qword [${Place.DATA + 8}]\nvmptrld qword [${Place.DATA + 8}]\nhlt`));
  put(Place.L1_EXIT, (a) => a.text('hlt'));
  jump(Place.L1);
  if (on) run();
  const c = new EntryContext(memory, vmx.capabilities);
  c.base = memory.arenaOffsetOf(Place.VMCS) / 4;
  c.currentVmcs = Place.VMCS;
  c.vmxonRegion = Place.VMXON;
  writeValidVmcs(c);
  for (const [word, value] of [
    [F.HOST_RIP, Place.L1_EXIT],
    [F.HOST_RSP, Place.L2_STACK],
    [F.GUEST_RIP, Place.L2],
    [F.GUEST_RSP, Place.L2_STACK],
  ] as const)
    c.set(word, value);
  return {
    cpu,
    vmx,
    memory,
    c,
    w: cpu.w,
    run,
    prepareLaunch: () => {
      put(Place.L1, (a) => a.text('vmlaunch\nhlt'));
      put(Place.L2, (a) => a.text('cpuid\nvmcall'));
    },
    prepareHost: (code, address = Place.L1) => put(address, (a) => a.text(code)),
    launch: () => {
      jump(Place.L1);
      executor.run(1000);
    },
    host: (code) => {
      put(Place.L1, (a) => a.text(`${code}\npushfq\npop r15\nhlt`));
      cpu.w[R15] = -1;
      cpu.w[RSP] = Place.L1_STACK;
      cpu.w[RSP + 1] = 0;
      jump(Place.L1);
      run();
      return cpu.w[R15]!;
    },
    guest: (code) => put(Place.L2, code),
    enter: () => {
      put(Place.L1, (a) => a.text(c.header(VmcsHeader.LAUNCHED) === 0 ? 'vmlaunch\nhlt' : 'vmresume\nhlt'));
      jump(Place.L1);
      c.set(F.INSTRUCTION_ERROR, 0);
      run();
      return c.lo(F.INSTRUCTION_ERROR) === 0 ? c.lo(F.EXIT_REASON) : -c.lo(F.INSTRUCTION_ERROR);
    },
  };
}
