import { MmioSpace, PortSpace, VirtualClock } from '@nestvm/bus';
import {
  createDeterministicRandom,
  type DeterministicRandom,
  Engine,
  Interpreter,
  injectMachineCheck,
  inspectNested,
  type MachineCheck,
  type MachineCheckOutcome,
  type NestedReport,
  reset,
  Vcpu,
} from '@nestvm/cpu';
import type { InputEvent } from '@nestvm/devices/virtio';
import { vcpuState } from '@nestvm/isa';
import { attachJit, type Jit } from '@nestvm/jit';
import { type Arena, createArena, MemoryError, PhysicalMemory } from '@nestvm/memory';
import { Mmu } from '@nestvm/mmu';
import { type Board, type BoardPart, boards, type RamLayout, ramLayout } from './boards.js';
import { createStartup, type Startup } from './boot-plan.js';
import { CacheDrops } from './cache-drops.js';
import { NestedClaims } from './claims.js';
import {
  type ClockConfig,
  cpuCount,
  type HostServices,
  type MachineConfig,
  type MachineOptions,
  type MachineOutcome,
  videoMemoryBytes,
} from './config.js';
import { applyWrites, enterPlan } from './entry.js';
import { MachineError } from './errors.js';
import { type FirmwareParts, firmwareBytes, placeFirmware } from './firmware.js';
import { createVga } from './graphics.js';
import { createMemoryHost } from './host.js';
import type { Hotplug } from './hotplug.js';
import { InputRouter } from './input.js';
import { MachineInspector } from './inspector.js';
import { type LevelCounts, levelCounts } from './levels.js';
import { LowMemory, SMRAM } from './low-memory.js';
import { attachExtension, lintNested, resolveNesting } from './nested.js';
import { watchNestedGuests } from './nested-watch.js';
import { Platform } from './platform.js';
import { RunLoop } from './run-loop.js';
import { createMachineSnapshot, type MachineSnapshot, type RamBlock } from './snapshot.js';
import { Stillness } from './stillness.js';
import { tlbOptions } from './tlb-debug.js';
import { installTrace, type MachineTrace } from './trace.js';

const MEBIBYTE = 2 ** 20;
/** Room in the arena beside guest RAM: decoded code and its tables; and for each vCPU its state and TLB banks. */
const ENGINE_BYTES = 48 * MEBIBYTE;
const VCPU_BYTES = 2 * MEBIBYTE;
const FOUR_GIB = 2 ** 32;
/** What the other CPUs report of a machine check that is signalled to all: valid and uncorrected; the program can be restarted. */
const BROADCAST: MachineCheck = { bank: 1, status: 5n << 61n, globalStatus: 1n, address: 0n, misc: 0n };
/** Turns until code is compiled where some of it is to be, and some not. */
const MIXED_TURNS = 64;

/** A whole machine: memory, CPUs, devices, and the loop that runs them. */
export class Machine {
  readonly board: Board;
  readonly parts: ReadonlySet<BoardPart>;
  readonly ram: RamLayout;
  readonly arena: Arena;
  readonly ports = new PortSpace();
  readonly mmio = new MmioSpace();
  readonly clock = new VirtualClock();
  readonly memory: PhysicalMemory;
  readonly cpus: readonly Vcpu[];
  readonly executors: readonly Interpreter[];
  readonly platform: Platform;
  /** The JIT, if there is one. */
  readonly jit: Jit | null;
  /** What drops caches at random, if anything does. */
  readonly drops: CacheDrops | null;
  private readonly engine: Engine;
  private readonly startup: Startup;
  private readonly loop: RunLoop;
  private readonly random: DeterministicRandom;
  private readonly mmus: Mmu[] = [];
  private readonly firmware: FirmwareParts;
  private readonly lowMemory: LowMemory;
  private readonly graphics: ReturnType<typeof createVga> | undefined;
  private ramOffset = 0;
  private onReset: (() => void) | undefined;
  /** Told after a reset that the guest or somebody else has asked for, when the machine starts again. */
  onRestart: (() => void) | null = null;
  /** Looks into memory and page tables, for monitors. */
  readonly inspector: MachineInspector;
  private readonly inputs: InputRouter;
  private readonly stillness: Stillness;
  private readonly claims: NestedClaims;

  constructor(readonly config: MachineConfig) {
    this.board = boards[config.board];
    this.parts = partsOf(this.board, config);
    this.ram = ramLayout(this.board, config.memoryBytes);
    this.startup = createStartup(config, this.board, this.ram, this.parts);
    const count = cpuCount(config);
    this.arena = allocateArena(arenaBytes(config, count), config.onMemory);
    this.memory = new PhysicalMemory({ arena: this.arena, mmio: this.mmio });
    const ramOffset = this.mapRam();
    this.firmware = placeFirmware(this.arena, this.memory, config);
    this.lowMemory = this.mapLegacy(ramOffset, this.firmware);
    this.graphics = config.vga && createVga(this.arena, this.memory, config.vga);
    const host: HostServices = config.host ?? createMemoryHost();
    const clock: ClockConfig = config.clock ?? { kind: 'virtual', shift: 0, sleep: false };
    this.platform = new Platform({
      board: this.board,
      parts: this.parts,
      config,
      ram: this.ram,
      memory: this.memory,
      ports: this.ports,
      mmio: this.mmio,
      clock: this.clock,
      host,
      lowMemory: this.lowMemory,
      startup: this.startup,
      flash: this.firmware.flash.map(({ device }) => device),
      ...(this.graphics ? { vga: this.graphics.vga } : {}),
      lines: {
        reset: () => this.loop.requestReset('guest'),
        powerOff: () => this.loop.finish({ kind: 'poweroff' }),
        exit: (status) => this.loop.finish({ kind: 'exit', status }),
        a20: (open) => this.setA20(open),
        wake: () => this.loop.wake(),
      },
    });
    this.random = createDeterministicRandom(config.seed ?? 1);
    this.cpus = this.createCpus(count);
    watchNestedGuests(this.cpus, this.clock);
    this.claims = new NestedClaims(this.cpus);
    this.inputs = new InputRouter(() => this.platform.virtio, this.platform.keyboard);
    this.inspector = new MachineInspector(this.cpus, this.mmus, this.memory);
    this.engine = new Engine(this.arena, this.memory, { keptCode: config.keptCode });
    this.jit = createJit(this.engine, config);
    this.drops = createDrops({ engine: this.engine, jit: this.jit, mmus: this.mmus }, config);
    this.executors = this.cpus.map((cpu) => new Interpreter(cpu, this.engine));
    this.loop = new RunLoop({
      executors: this.executors,
      clock: this.clock,
      host,
      clockConfig: clock,
      selectCpu: (index) => {
        this.platform.current = index;
        this.lowMemory.systemManagement(this.cpus[index]!.get32('smm') !== 0);
      },
      ...(this.drops ? { beforeSlice: () => this.drops?.beforeSlice() } : {}),
      reset: () => {
        this.reset();
        this.onRestart?.();
      },
      halted: () => this.cpus.every(isHaltedForGood),
      rebootAllowed: config.reboot ?? true,
    });
    this.reset();
    this.stillness = new Stillness(() => [...this.platform.devices, ...this.platform.virtio.map(({ device }) => device)]);
    this.stillness.begin();
  }

  /** Runs until the guest ends, or `stop` is called; may be called again after `stopped`. */
  async run(): Promise<MachineOutcome> {
    this.stillness.end();
    try {
      return await this.loop.run();
    } finally {
      this.stillness.begin();
    }
  }

  /** Makes `run` end at the next instruction boundary. */
  stop(): void {
    this.loop.finish({ kind: 'stopped' });
  }

  /** Takes a share (0 to 0.99) of host time away from the vCPUs: so long that a migration can keep up with what they write. */
  throttle(share: number): void {
    this.loop.throttle = Math.min(Math.max(share, 0), 0.99);
  }

  /** The event loop gets its turns often (or as usual again): while a migration has much to send, say. */
  yieldOften(often: boolean): void {
    this.loop.yieldsOften = often;
  }

  /** As if somebody pressed the reset button. */
  requestReset(): void {
    this.loop.requestReset('guest');
  }

  /** As if somebody pressed the power button: ACPI guests shut down. */
  powerButton(): void {
    this.platform.pm?.powerButton();
    this.loop.wake();
  }

  /** Devices that are plugged in and out while the machine runs; throws `MachineError` on boards whose guests would not hear of it. */
  get hotplug(): Hotplug {
    const { hotplug } = this.platform;
    if (hotplug) return hotplug;
    throw new MachineError(
      'bad-option',
      `machine: the board '${this.board.name}' has no ACPI with PCI, by which guests hear of devices that come and go`,
    );
  }

  /** A non-maskable interrupt to every CPU, as from a front-panel button. */
  nmi(): void {
    this.platform.nonMaskableInterrupt();
    this.loop.wake();
  }

  /**
   * A machine check of one CPU, as if its hardware had failed; see {@link injectMachineCheck} of `@nestvm/cpu`. `broadcast` signals an uncorrected one to the other CPUs
   * as well, in bank 1, as Intel's processors do.
   *
   * @throws CpuError `bad-option` for a CPU, a bank or a status that there is not.
   */
  machineCheck(cpu: number, check: MachineCheck, broadcast = false): MachineCheckOutcome {
    const vcpu = this.cpus[cpu];
    if (vcpu === undefined) throw new MachineError('bad-option', `machine: there is no CPU ${cpu}; the last is ${this.cpus.length - 1}`);
    const outcome = injectMachineCheck(vcpu, check);
    if (broadcast && outcome === 'signalled') for (const other of this.cpus) if (other !== vcpu) injectMachineCheck(other, BROADCAST);
    this.loop.wake();
    return outcome;
  }

  /** A key of the keyboard goes down or up (names of `KeyboardEvent.code`); false when there is no keyboard, or no such key on it. */
  key(name: string, down: boolean): boolean {
    return this.input([{ kind: 'key', key: name, down }]);
  }

  /** What a person does with keyboard, mouse and tablet; false when this machine has no device for any of it. */
  input(events: readonly InputEvent[]): boolean {
    const taken = this.inputs.send(events);
    this.loop.wake();
    return taken;
  }

  /** Bytes for a serial port (0 is COM1). Returns how many were taken. */
  receiveSerial(port: number, bytes: Uint8Array): number {
    const taken = this.platform.serial[port]?.receive(bytes) ?? 0;
    this.loop.wake();
    return taken;
  }

  /** What nested guests have done so far. */
  levels(): LevelCounts {
    return levelCounts(this.cpus);
  }

  /** Every VMCS or VMCB that was entered, and whether its guest counts as active: what `migratable.nested` says, without what a snapshot takes. */
  judgeNested(): readonly NestedReport[] {
    return inspectNested(this.cpus);
  }

  /** What is wrong, or looks wrong, with the VMCS or VMCB that a vCPU would enter now: a line or more for each thing, at any time. */
  lintNested(cpu: number): readonly string[] {
    return lintNested(this.cpus[cpu]!);
  }

  /** Tells a log what happens from now on, in place of an earlier one; `{}` for silence. */
  trace(trace: MachineTrace): void {
    const { cpus, engine, ports, mmio, platform } = this;
    installTrace(trace, { cpus, engine, ports, mmio, current: () => platform.current });
    this.onReset = trace.reset && (() => trace.reset?.());
  }

  /** Instructions retired by all CPUs. */
  get retired(): number {
    return this.executors.reduce((sum, executor) => sum + executor.retired, 0);
  }

  /** This machine as `@nestvm/migration` saves and loads it. Use it only while the machine does not run. */
  get migratable(): MachineSnapshot {
    const { config, parts, memory, clock, cpus, mmus, platform, random, engine, claims } = this;
    const onTime = (): void => this.loop.timeRestored();
    const { flash } = this.firmware;
    const ram: RamBlock[] = [...this.ramBlocks(), ...(this.graphics ? [this.graphics.block] : []), ...flash.map(({ block }) => block)];
    const onReplaced = (): void => {
      engine.cache.flush();
      for (const { device } of flash) device.replaced();
    };
    return createMachineSnapshot({
      config: { ...config, virtio: platform.virtio },
      parts,
      memory,
      ram,
      clock,
      cpus,
      mmus,
      platform,
      random,
      claims,
      onTime,
      onReplaced,
    });
  }

  /** Power-on or reset: devices, CPUs, and what was to be loaded. */
  reset(): void {
    this.platform.reset();
    this.lowMemory.systemManagement(false);
    for (const cpu of this.cpus) reset(cpu);
    applyWrites(this.startup.tables, this.memory);
    for (const plan of this.startup.plans) applyWrites(plan.writes, this.memory);
    if (this.startup.entry) enterPlan(this.cpus[0]!, this.startup.entry.entry);
    this.onReset?.();
  }

  /** Everything but what lies between 640 KiB and 1 MiB on boards whose host bridge decides on that. */
  private mapRam(): number {
    const { memory, config, arena } = this;
    // Where bitmaps of pages have whole words for it.
    const base = arena.allocateTop('guest RAM', config.memoryBytes, 32 * 4096);
    for (const block of this.ramBlocks(base)) if (block.base !== SMRAM.base) memory.mapRam(block.base, block.size, block.arenaOffset);
    return base;
  }

  /** The end of the firmware below 1 MiB. */
  private mapLegacy(ram: number, { legacy: rom }: FirmwareParts): LowMemory {
    const { memory } = this;
    if (rom && this.board.chipset === 'none') memory.mapRom(0x100000 - rom.size, rom.size, rom.offset);
    return new LowMemory({ memory, ram, ...(rom ? { rom } : {}) });
  }

  /** The RAM of the machine, whatever of it is mapped just now. */
  private ramBlocks(base = this.ramOffset): (RamBlock & { readonly base: number })[] {
    const { below4G, above4G } = this.ram;
    this.ramOffset = base;
    const end = SMRAM.base + SMRAM.size;
    const block = (from: number, size: number, arenaOffset: number) => ({ name: `ram@${from.toString(16)}`, base: from, size, arenaOffset });
    return [
      block(0, Math.min(SMRAM.base, below4G), base),
      ...(this.board.chipset === 'none' ? [] : [block(SMRAM.base, SMRAM.size, base + SMRAM.base)]),
      ...(below4G > end ? [block(end, below4G - end, base + end)] : []),
      ...(above4G > 0 ? [block(FOUR_GIB, above4G, base + below4G)] : []),
    ];
  }

  private createCpus(count: number): Vcpu[] {
    const { arena, memory, config, platform, random } = this;
    return Array.from({ length: count }, (_, index) => {
      const base = arena.allocate(`vcpu ${index}`, vcpuState.size, 64);
      const mmu = new Mmu({
        memory,
        vcpuBase: base,
        maxPhysicalAddress: config.cpu.physicalBits,
        pages1g: config.cpu.has('pdpe1gb'),
        ...tlbOptions(config.tlb, index, arena.memory.buffer, base),
      });
      this.mmus.push(mmu);
      const cpu = new Vcpu({
        index,
        buffer: arena.memory.buffer,
        base,
        mmu,
        memory,
        ports: this.ports,
        clock: this.clock,
        model: config.cpu,
        random,
      });
      cpu.peers = () => this.cpus;
      attachExtension(cpu, memory, mmu, this.clock, () => this.cpus);
      const source = platform.localApics[index] ?? (index === 0 ? platform.picSource : undefined);
      if (source) cpu.connectInterrupts(source);
      cpu.onPlatformEvent = (event) => {
        if (event === 'shutdown') this.loop.requestReset('triple-fault');
        else if (event !== 'ferr') this.lowMemory.systemManagement(event === 'smm-enter');
      };
      return cpu;
    });
  }

  private setA20(open: boolean): void {
    const mask = open ? 0xffffffff : 0xffefffff;
    for (const cpu of this.cpus ?? []) {
      if (cpu.get32('a20Mask') === mask) continue;
      cpu.set32('a20Mask', mask);
      cpu.mmu.setContext();
    }
  }
}

const RFLAGS_IF = 0x200;
const Activity = { HLT: 1, WAIT_FOR_SIPI: 3 } as const;

/** Halted with interrupts off, or an application processor that nobody has started. */
function isHaltedForGood(cpu: Vcpu): boolean {
  const activity = cpu.get32('activity');
  return (
    activity === Activity.WAIT_FOR_SIPI || (activity === Activity.HLT && (cpu.get32('rflags') & RFLAGS_IF) === 0 && cpu.get32('guestMode') === 0)
  );
}

/** Makes a machine; throws `MachineError`, `BootError` and `CpuModelError` for what cannot be. */
export const createMachine = (options: MachineOptions): Machine => new Machine(resolveNesting(options));

function allocateArena(bytes: number, onReserved: MachineConfig['onMemory']): Arena {
  try {
    return createArena({ bytes, onReserved });
  } catch (error) {
    if (error instanceof MemoryError) throw new MachineError('too-much-memory', error.message);
    throw error;
  }
}

function createJit(engine: Engine, { jit, codeBytes }: MachineConfig): Jit | null {
  if (jit === false || jit === undefined) return null;
  const how = jit === true ? {} : { threshold: jit === 'force' ? 1 : MIXED_TURNS };
  return attachJit(engine, { ...how, ...(codeBytes === undefined ? {} : { codeBytes }) });
}

function createDrops(caches: ConstructorParameters<typeof CacheDrops>[0], { jit, drops }: MachineConfig): CacheDrops | null {
  const config = drops ?? (jit === 'mixed' ? { seed: 1 } : undefined);
  return config ? new CacheDrops(caches, config) : null;
}

/** Size of the arena for a machine's memories; throws `MachineError` (`too-much-memory`). */
function arenaBytes(config: MachineConfig, cpus: number): number {
  const { memoryBytes, vga } = config;
  const bytes = memoryBytes + ENGINE_BYTES + cpus * VCPU_BYTES + firmwareBytes(config) + videoMemoryBytes(vga);
  if (!Number.isSafeInteger(memoryBytes) || memoryBytes < MEBIBYTE || memoryBytes % 4096 !== 0) {
    throw new MachineError('bad-option', `machine: ${memoryBytes} bytes of memory; give at least 1 MiB, in whole pages`);
  }
  if (bytes > FOUR_GIB)
    throw new MachineError(
      'too-much-memory',
      `machine: ${memoryBytes / MEBIBYTE} MiB of guest memory and the engine do not fit into 4 GiB; give less`,
    );
  return bytes;
}

function partsOf(board: Board, config: MachineConfig): ReadonlySet<BoardPart> {
  const parts = new Set(board.parts);
  for (const [part, on] of Object.entries(config.parts ?? {}) as [BoardPart, boolean][]) {
    if (!board.optional.includes(part))
      throw new MachineError('bad-option', `machine: board '${board.name}' has no switch '${part}'; it has ${board.optional.join(', ') || 'none'}`);
    if (on) parts.add(part);
    else parts.delete(part);
  }
  if (cpuCount(config) > 1 && !config.cpu.has('apic'))
    throw new MachineError('bad-option', 'machine: several CPUs need local APICs; add the feature apic or use one CPU');
  if (cpuCount(config) > 1 && !parts.has('ioapic'))
    throw new MachineError('bad-option', `machine: board '${board.name}' has one CPU, without an I/O APIC; use one CPU (-smp 1) or another board`);
  return parts;
}
