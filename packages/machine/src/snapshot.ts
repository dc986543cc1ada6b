import type { VirtualClock } from '@nestvm/bus';
import { type DeterministicRandom, msrState, type NestedReport, registerState, type Vcpu } from '@nestvm/cpu';
import type { HeldDisk } from '@nestvm/devices/virtio';
import { PAGE_BYTES, type PhysicalMemory } from '@nestvm/memory';
import type { Mmu } from '@nestvm/mmu';
import { type Migratable, nonMigratable, type SavedValue, stateful, stateless } from '@nestvm/state';
import type { NestedClaims } from './claims.js';
import type { MachineConfig } from './config.js';
import { configurationMismatches, type Description, describeMachine } from './configuration.js';
import { MachineError } from './errors.js';
import type { Platform } from './platform.js';

/** Devices that hold nothing between two accesses, or whose state another one saves (hot plug: the PCI host). */
const STATELESS: ReadonlySet<string> = new Set(['apic-bus', 'debug-console', 'isa-debug-exit', 'pci-hotplug']);
/** Interrupt controllers come after what drives their inputs: loading a device sets its lines anew, which must leave no trace in them. */
const CONTROLLERS = ['io-apic', 'pic'];
const LEGACY_END = 0x10_0000;

/** A piece of the machine's RAM, mapped or not. */
export interface RamBlock {
  readonly name: string;
  /** Guest address of what is main memory. */
  readonly base?: number;
  readonly size: number;
  readonly arenaOffset: number;
}

/** What the units of a machine are made of. */
export interface SnapshotParts {
  readonly config: MachineConfig;
  readonly parts: ReadonlySet<string>;
  readonly memory: PhysicalMemory;
  readonly ram: readonly RamBlock[];
  readonly clock: VirtualClock;
  readonly cpus: readonly Vcpu[];
  readonly mmus: readonly Mmu[];
  readonly platform: Platform;
  readonly random: DeterministicRandom;
  readonly claims: NestedClaims;
  /** Guest time was set. */
  readonly onTime: () => void;
  /** Memory was written from outside: decoded code is void, and flash is to be kept. */
  readonly onReplaced: () => void;
}

interface Savable {
  save(): SavedValue;
  load(saved: unknown): void;
}

const isSavable = (device: object): device is Savable => 'save' in device && 'load' in device;

function deviceUnit(device: object, name = ''): Migratable {
  if (isSavable(device)) return stateful({ version: 1, save: () => device.save(), load: (saved) => device.load(saved) });
  return STATELESS.has(name) ? stateless : nonMigratable('the device does not say what its state is');
}

function clockUnit({ clock, onTime }: SnapshotParts): Migratable {
  return stateful({
    version: 1,
    save: () => ({ nowNs: clock.nowNs() }),
    load: (saved) => {
      const nowNs = (saved as { nowNs?: unknown } | null)?.nowNs;
      if (typeof nowNs !== 'number' || !Number.isSafeInteger(nowNs) || nowNs < 0)
        throw new MachineError('bad-state', 'machine: the saved clock is no time; the snapshot is damaged');
      clock.restore(nowNs);
      onTime();
    },
  });
}

function randomUnit({ random }: SnapshotParts): Migratable {
  return stateful({
    version: 1,
    save: () => random.save(),
    load: (saved) => {
      if (!Array.isArray(saved) || saved.length !== 4 || !saved.every((word) => Number.isInteger(word)) || saved.every((word) => word === 0))
        throw new MachineError('bad-state', 'machine: the saved random generator is none; the snapshot is damaged');
      random.load(saved as number[]);
    },
  });
}

/** Every stateful thing of a machine by path name, in the order in which they are loaded. */
function machineUnits(parts: SnapshotParts): ReadonlyMap<string, Migratable> {
  const { platform, cpus, mmus } = parts;
  const units = new Map<string, Migratable>([
    ['clock', clockUnit(parts)],
    ['random', randomUnit(parts)],
    ['nested', parts.claims.unit],
  ]);
  const rank = ({ name }: { readonly name: string }): number => CONTROLLERS.indexOf(name);
  platform.pci?.functions.forEach(
    (fn, devfn) => fn && units.set(`pci/00:${(devfn >> 3).toString(16).padStart(2, '0')}.${devfn & 7}`, deviceUnit(fn)),
  );
  for (const device of platform.devices.toSorted((a, b) => rank(a) - rank(b))) units.set(device.name, deviceUnit(device, device.name));
  if (platform.picSource) units.set('pic-pins', deviceUnit(platform.picSource));
  for (const cpu of cpus) {
    units.set(`cpu${cpu.index}/msrs`, msrState(cpu));
    units.set(`cpu${cpu.index}`, registerState(cpu));
    units.set(`cpu${cpu.index}/mmu`, mmus[cpu.index]!.state);
    const apic = platform.localApics[cpu.index];
    if (apic) units.set(`cpu${cpu.index}/apic`, deviceUnit(apic));
  }
  return units;
}

/** The RAM of a machine as views. */
function ramBlocks({ memory, ram }: SnapshotParts): { readonly name: string; readonly bytes: Uint8Array }[] {
  const { u8 } = memory.arena;
  return ram.map(({ name, size, arenaOffset }) => ({ name, bytes: u8.subarray(arenaOffset, arenaOffset + size) }));
}

/** Disks of which something is in memory only, by names that are the same wherever the machine is made of the same options. */
function heldDisks({ virtio = [], ata }: MachineConfig): HeldDisk[] {
  const places = [...(ata?.board ?? []), ...(ata?.ahci ?? []).flatMap(({ ports }) => ports)];
  const drives = places.flatMap((place) => (place?.drive.held ? [{ name: `ata/${place.drive.name}`, blocks: place.drive.held }] : []));
  return [...virtio.flatMap(({ device }) => device.heldDisks()), ...drives];
}

/** A machine as it is saved and loaded: what `@nestvm/migration` asks for. */
export interface MachineSnapshot {
  /** The options that make this machine. */
  configuration(): SavedValue;
  /** In which options the machine of a snapshot differs; empty when it fits. */
  mismatches(configuration: unknown): readonly string[];
  /** Every stateful thing by its path name, in the order in which they are loaded. */
  units(): ReadonlyMap<string, Migratable>;
  ram(): readonly { readonly name: string; readonly bytes: Uint8Array }[];
  /** Pages that may hold something, as bitmaps by block of `ram()`: all others are clear. */
  touched(): readonly Uint32Array[];
  /** To be called before pages of a block of `ram()` are written. */
  noteWrites(block: number, firstPage: number, pages: number): void;
  /** What of its disks is in this process only, and goes into snapshots. */
  heldDisks(): readonly HeldDisk[];
  /** What every vCPU's extension says of its nested guests. */
  readonly nested: { inspect(): readonly NestedReport[] };
  /** After RAM was written from outside: decoded code and translations are void. */
  forgetCaches(): void;
  /** Which pages of RAM are written: one bit a page for each block of `ram()`. */
  readonly dirty: { start(): void; stop(): void; take(): readonly Uint32Array[] };
}

/** The bits of a bitmap by arena page that belong to one range of pages. */
function sliceBitmap(bitmap: Uint32Array, first: number, pages: number): Uint32Array {
  const result = new Uint32Array((pages + 31) >>> 5);
  const shift = first & 31;
  const from = first >>> 5;
  if (shift === 0) result.set(bitmap.subarray(from, from + result.length));
  else
    for (let word = 0; word < result.length; word++) {
      result[word] = ((bitmap[from + word] ?? 0) >>> shift) | ((bitmap[from + word + 1] ?? 0) << (32 - shift));
    }
  const over = pages & 31;
  if (over !== 0) result[result.length - 1]! &= (1 << over) - 1;
  return result;
}

const byBlock = ({ ram }: SnapshotParts, bitmap: Uint32Array): Uint32Array[] =>
  ram.map(({ arenaOffset, size }) => sliceBitmap(bitmap, arenaOffset / PAGE_BYTES, size / PAGE_BYTES));

function dirtyTracking(parts: SnapshotParts): MachineSnapshot['dirty'] {
  const log = parts.memory.dirtyLog;
  return {
    start: () => log.start(),
    stop: () => log.stop(),
    take: () => byBlock(parts, log.take()),
  };
}

/** Pages that may hold something. Those of flash and of graphics cards count as such, and what is below 1 MiB: they are written by other ways, too. */
function touched(parts: SnapshotParts): readonly Uint32Array[] {
  return byBlock(parts, parts.memory.dirtyLog.written()).map((pages, block) => {
    const { base, size } = parts.ram[block]!;
    const certain = base === undefined ? size : Math.max(0, Math.min(size, LEGACY_END - base));
    const whole = Math.floor(certain / PAGE_BYTES / 32);
    pages.fill(0xffff_ffff, 0, whole);
    for (let page = whole * 32; page < certain / PAGE_BYTES; page++) pages[page >>> 5]! |= 1 << (page & 31);
    return pages;
  });
}

/** Pages of a block are written from outside. */
function noteWrites({ ram, memory }: SnapshotParts, block: number, firstPage: number, pages: number): void {
  const first = ram[block]!.arenaOffset / PAGE_BYTES + firstPage;
  for (let page = first; page < first + pages; page++) memory.dirtyLog.mark(page);
}

/** Makes a machine's parts savable. */
export function createMachineSnapshot(parts: SnapshotParts): MachineSnapshot {
  const { config, mmus, onReplaced } = parts;
  let description: Description | undefined;
  const describe = (): Description => (description ??= describeMachine(config, parts.parts));
  return {
    configuration: describe,
    mismatches: (configuration) => configurationMismatches(describe(), configuration),
    units: () => machineUnits(parts),
    ram: () => ramBlocks(parts),
    touched: () => touched(parts),
    noteWrites: (block, firstPage, pages) => noteWrites(parts, block, firstPage, pages),
    heldDisks: () => heldDisks(config),
    dirty: dirtyTracking(parts),
    nested: parts.claims,
    forgetCaches: () => {
      onReplaced();
      for (const mmu of mmus) mmu.reset();
    },
  };
}
