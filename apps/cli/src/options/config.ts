import { CpuModel, CpuModelError, type CpuTopology, nearestName, parseCpu } from '@nestvm/isa/models';
import { type BoardName, boardNames, boardProperties } from '@nestvm/machine';
import { UsageError } from '../errors.js';
import { type CharacterSpec, parseCharacterDevice } from './character.js';
import { type DeviceSpecs, parseDevices } from './devices.js';
import type { RawOptions } from './parse.js';
import { assertKeys, parseInteger, parseProperties, parseSize, parseSwitch, splitCommas } from './text.js';

/** A file and the text that goes with it. */
export interface ModuleSpec {
  readonly path: string;
  readonly commandLine?: string;
}

/** Everything that `nestvm run` was told, checked, before any file is opened. */
export interface RunOptions {
  readonly name: string;
  readonly board: BoardName;
  readonly boardProperties: Readonly<Record<string, boolean>>;
  readonly cpu: CpuModel;
  readonly topology: CpuTopology;
  readonly memoryBytes: number;
  readonly kernel?: string;
  readonly modules: readonly ModuleSpec[];
  readonly commandLine?: string;
  readonly firmware?: string;
  readonly serial: readonly CharacterSpec[];
  readonly debugConsole?: { readonly port: number; readonly to: CharacterSpec };
  readonly devices: DeviceSpecs;
  readonly clock: { readonly kind: 'host' } | { readonly kind: 'virtual'; readonly shift: number; readonly sleep: boolean };
  readonly rtc: RtcSpec;
  readonly reboot: boolean;
  readonly shutdown: boolean;
  readonly paused: boolean;
  readonly escape: number;
  readonly seed?: number;
  readonly log: readonly string[];
  readonly logFile?: string;
  readonly warnings: readonly string[];
}

/** `base`: 'utc', 'localtime', or milliseconds since 1970 (UTC fields); `guestClock`: runs with the virtual clock. */
export interface RtcSpec {
  readonly base: 'utc' | 'localtime' | number;
  readonly guestClock: boolean;
}

const DEFAULT_MEMORY = 128 * 2 ** 20;
const SMALLEST_MEMORY = 2 ** 20;
/** The arena is one 32-bit memory, shared with the engine. */
const LARGEST_MEMORY = 3.75 * 2 ** 30;
/** Names of `-d` items. */
export const logItems: Readonly<Record<string, string>> = {
  int: 'interrupts and exceptions as they are delivered',
  in_asm: 'instructions as they are decoded',
  exec: 'addresses of blocks as they run',
  cpu: 'registers at each event',
  cpu_reset: 'registers at each reset',
  guest_errors: 'accesses to nothing, impossible register values',
  io: 'port and MMIO accesses',
};

const last = (raw: RawOptions, name: string): string | undefined => raw.get(name)?.at(-1);

/** Checks what `parseOptions` found; throws `UsageError`. */
export function configure(raw: RawOptions): RunOptions {
  const warnings: string[] = [];
  const { board, properties } = parseMachine(raw, warnings);
  const topology = parseSmp(last(raw, 'smp'));
  const cpu = parseModel(last(raw, 'cpu') ?? 'max', topology, warnings);
  const characters = new Map((raw.get('chardev') ?? []).map((text) => parseChardev(text)));
  const devices = parseDevices(raw.get('device') ?? [], characters);
  const debugcon = last(raw, 'debugcon');
  const debugConsole =
    debugcon !== undefined && debugcon !== 'none'
      ? { port: 0xe9, to: parseCharacterDevice('-debugcon', debugcon, characters) }
      : devices.debugConsole;
  const kernel = last(raw, 'kernel');
  const commandLine = last(raw, 'append');
  const firmware = last(raw, 'bios');
  const modules = parseInitrd(last(raw, 'initrd'));
  assertBootable({ kernel, firmware, commandLine, modules, devices });
  const seed = last(raw, 'seed');
  const logFile = last(raw, 'D');
  acceptNone(raw, warnings);
  return {
    name: parseProperties(last(raw, 'name') ?? 'nestvm').head || 'nestvm',
    board,
    boardProperties: properties,
    cpu,
    topology,
    memoryBytes: parseMemory(last(raw, 'm')),
    ...(kernel === undefined ? {} : { kernel }),
    modules,
    ...(commandLine === undefined ? {} : { commandLine }),
    ...(firmware === undefined ? {} : { firmware }),
    serial: parseSerial(raw, characters, devices),
    ...(debugConsole ? { debugConsole } : {}),
    devices,
    clock: parseIcount(last(raw, 'icount')),
    rtc: parseRtc(last(raw, 'rtc')),
    reboot: !raw.has('no-reboot'),
    shutdown: !raw.has('no-shutdown'),
    paused: raw.has('S'),
    escape: parseInteger('-echr', last(raw, 'echr') ?? '1', 0, 255),
    ...(seed === undefined ? {} : { seed: parseInteger('-seed', seed, 0, 0xffffffff) }),
    log: parseLog(last(raw, 'd')),
    ...(logFile === undefined ? {} : { logFile }),
    warnings,
  };
}

function parseMachine(raw: RawOptions, warnings: string[]): { board: BoardName; properties: Record<string, boolean> } {
  const { head, values } = parseProperties(last(raw, 'M') ?? 'pc');
  const rest = new Map(values);
  const type = head || (rest.get('type') ?? 'pc');
  rest.delete('type');
  const board = boardNames.find((name) => name === type.replace(/^pc-i440fx(-\d.*)?$/, 'pc').replace(/^pc-q35(-\d.*)?$/, 'q35'));
  if (board === undefined) {
    const near = nearestName(type, boardNames);
    throw new UsageError(`-M ${type}: no such machine; ${near ? `the nearest is '${near}'` : `there are ${boardNames.join(', ')}`}`);
  }
  const properties: Record<string, boolean> = {};
  const accel = rest.get('accel');
  if (accel !== undefined) acceptAccelerator(`-M accel=${accel}`, accel, warnings);
  for (const key of [
    'accel',
    'graphics',
    'usb',
    'vmport',
    'dump-guest-core',
    'mem-merge',
    'kernel-irqchip',
    'kernel_irqchip',
    'smm',
    'nvdimm',
    'sata',
    'smbus',
    'auto-kernel-cmdline',
    'x-option-roms',
    'isa-serial',
  ])
    rest.delete(key);
  const known = boardProperties(board);
  assertKeys(`-M ${board}`, rest, known);
  for (const [key, value] of rest) properties[key] = value === 'auto' ? true : parseSwitch(`-M ${board},${key}`, value);
  if (raw.has('no-acpi')) properties['acpi'] = false;
  if (raw.has('no-hpet')) properties['hpet'] = false;
  return { board, properties };
}

function acceptAccelerator(option: string, accel: string, warnings: string[]): void {
  const name = accel.split(/[,:]/)[0]!;
  if (name === 'tcg') return;
  warnings.push(`${option}: Nestvm emulates every instruction itself; '${name}' is ignored`);
}

function acceptNone(raw: RawOptions, warnings: string[]): void {
  for (const accel of raw.get('accel') ?? []) acceptAccelerator(`-accel ${accel}`, accel, warnings);
  if (raw.has('enable-kvm')) warnings.push('-enable-kvm: Nestvm emulates every instruction itself; ignored');
  for (const [option, meaning] of [
    ['display', 'there is no display'],
    ['vga', 'there is no display'],
    ['net', 'there is no network yet'],
    ['nic', 'there is no network yet'],
    ['parallel', 'there is no parallel port'],
  ] as const) {
    const value = (raw.get(option) ?? []).find((v) => v !== 'none');
    if (value !== undefined) throw new UsageError(`-${option} ${value}: ${meaning}; write -${option} none`);
  }
}

function parseModel(text: string, topology: CpuTopology, warnings: string[]): CpuModel {
  try {
    const model = parseCpu(text, topology);
    warnings.push(...model.warnings.map((warning) => `-cpu ${warning}`));
    return model;
  } catch (error) {
    if (error instanceof CpuModelError) throw new UsageError(error.message);
    throw error;
  }
}

function parseSmp(text = '1'): CpuTopology {
  const { head, values } = parseProperties(text);
  assertKeys('-smp', values, ['cpus', 'sockets', 'dies', 'clusters', 'cores', 'threads', 'maxcpus']);
  const number = (key: string): number | undefined => (values.has(key) ? parseInteger(`-smp ${key}`, values.get(key)!, 1, 255) : undefined);
  const cpus = head === '' ? number('cpus') : parseInteger('-smp', head, 1, 255);
  const threads = number('threads') ?? 1;
  const given = { sockets: number('sockets'), cores: number('cores') };
  const maximum = number('maxcpus') ?? cpus;
  if (maximum !== undefined && cpus !== undefined && maximum !== cpus)
    throw new UsageError(`-smp maxcpus=${maximum}: CPUs cannot be plugged in later; write maxcpus=${cpus} or leave it out`);
  const total = cpus ?? (given.sockets ?? 1) * (given.cores ?? 1) * threads;
  const cores = given.cores ?? Math.max(1, Math.floor(total / ((given.sockets ?? 1) * threads)));
  const sockets = given.sockets ?? Math.max(1, Math.floor(total / (cores * threads)));
  if (sockets * cores * threads !== total)
    throw new UsageError(`-smp ${text}: ${sockets} sockets × ${cores} cores × ${threads} threads are not ${total} CPUs; make them match`);
  if (total > 16) throw new UsageError(`-smp ${text}: ${total} CPUs; Nestvm runs up to 16`);
  return { sockets, cores, threads };
}

function parseMemory(text: string | undefined): number {
  if (text === undefined) return DEFAULT_MEMORY;
  const { head, values } = parseProperties(text);
  assertKeys('-m', values, ['size', 'slots', 'maxmem']);
  const bytes = parseSize('-m', head || (values.get('size') ?? '128M'));
  if (bytes < SMALLEST_MEMORY) throw new UsageError(`-m ${text}: too little memory; give at least 1M (a Debian kernel needs about 128M)`);
  if (bytes > LARGEST_MEMORY) throw new UsageError(`-m ${text}: too much memory; one WebAssembly memory holds guest and engine, so at most 3840M`);
  return Math.ceil(bytes / 2 ** 20) * 2 ** 20;
}

function parseInitrd(text: string | undefined): ModuleSpec[] {
  if (text === undefined) return [];
  return splitCommas(text).map((part) => {
    const trimmed = part.trim();
    const space = trimmed.indexOf(' ');
    return space < 0 ? { path: trimmed } : { path: trimmed.slice(0, space), commandLine: trimmed };
  });
}

function parseChardev(text: string): readonly [string, CharacterSpec] {
  const { head, values } = parseProperties(text);
  const id = values.get('id');
  if (id === undefined) throw new UsageError(`-chardev ${text}: an id is missing; write -chardev ${head || 'stdio'},id=NAME`);
  assertKeys('-chardev', values, ['id', 'path', 'mux', 'signal', 'logfile', 'append']);
  const path = values.get('path');
  if (head === 'file') {
    if (path === undefined) throw new UsageError(`-chardev ${text}: a path is missing; write -chardev file,id=${id},path=FILE`);
    return [id, { kind: 'file', path }];
  }
  if (head === 'stdio') return [id, { kind: 'stdio', monitor: values.has('mux') && parseSwitch('-chardev mux', values.get('mux')!) }];
  if (head === 'null') return [id, { kind: 'null' }];
  throw new UsageError(`-chardev ${head}: no such character device; there are stdio, file, null`);
}

function parseSerial(raw: RawOptions, characters: ReadonlyMap<string, CharacterSpec>, devices: DeviceSpecs): CharacterSpec[] {
  const given = [...(raw.get('serial') ?? []).map((text): CharacterSpec => parseCharacterDevice('-serial', text, characters)), ...devices.serial];
  if (given.length > 4) throw new UsageError(`-serial: ${given.length} ports; a machine has 4`);
  if (given.length === 0 && (!raw.has('nodefaults') || raw.has('nographic'))) return [{ kind: 'stdio', monitor: true }];
  const terminals = given.filter((spec) => spec.kind === 'stdio').length;
  if (terminals > 1) throw new UsageError('-serial: only one port can be on the terminal; send the others to file:F or null');
  return given;
}

function parseIcount(text: string | undefined): RunOptions['clock'] {
  if (text === undefined) return { kind: 'host' };
  const { head, values } = parseProperties(text);
  assertKeys('-icount', values, ['shift', 'sleep', 'align', 'rr', 'rrfile', 'rrsnapshot']);
  if (values.has('rr') && values.get('rr') !== 'off')
    throw new UsageError('-icount rr: record and replay are not needed: runs with -icount repeat exactly; leave rr out');
  const shift = head || (values.get('shift') ?? 'auto');
  return {
    kind: 'virtual',
    shift: shift === 'auto' ? 0 : parseInteger('-icount shift', shift, 0, 10),
    sleep: parseSwitch('-icount sleep', values.get('sleep') ?? 'on'),
  };
}

function parseRtc(text: string | undefined): RtcSpec {
  if (text === undefined) return { base: 'utc', guestClock: false };
  const { head, values } = parseProperties(text);
  assertKeys('-rtc', values, ['base', 'clock', 'driftfix']);
  const clock = values.get('clock') ?? 'host';
  if (!['host', 'rt', 'vm'].includes(clock)) throw new UsageError(`-rtc clock=${clock}: no such clock; there are host, rt, vm`);
  const base = head || (values.get('base') ?? 'utc');
  if (base === 'utc' || base === 'localtime') return { base, guestClock: clock === 'vm' };
  const milliseconds = /^\d{4}-\d\d-\d\d(T\d\d:\d\d:\d\d)?$/.test(base) ? Date.parse(base.includes('T') ? `${base}Z` : `${base}T00:00:00Z`) : NaN;
  if (Number.isNaN(milliseconds)) throw new UsageError(`-rtc base=${base}: write utc, localtime, 2006-06-17 or 2006-06-17T16:01:21`);
  return { base: milliseconds, guestClock: clock === 'vm' };
}

function parseLog(text: string | undefined): string[] {
  if (text === undefined) return [];
  const items = splitCommas(text).filter((item) => item !== 'help');
  for (const item of items) {
    if (Object.hasOwn(logItems, item)) continue;
    const near = nearestName(item, Object.keys(logItems));
    throw new UsageError(`-d ${item}: no such item; ${near ? `the nearest is '${near}'` : "'-d help' lists them"}`);
  }
  return items;
}

function assertBootable(given: {
  kernel: string | undefined;
  firmware: string | undefined;
  commandLine: string | undefined;
  modules: readonly ModuleSpec[];
  devices: DeviceSpecs;
}): void {
  const { kernel, firmware, commandLine, modules, devices } = given;
  if (kernel === undefined && commandLine !== undefined) throw new UsageError('-append: a command line without a kernel; add -kernel FILE');
  if (kernel === undefined && modules.length > 0) throw new UsageError('-initrd: an initrd without a kernel; add -kernel FILE');
  if (kernel === undefined && firmware === undefined && !devices.images.some((image) => image.entry)) {
    throw new UsageError("nothing to run: give a kernel with -kernel FILE ('nestvm demo' brings its own; 'nestvm run -help' shows examples)");
  }
}
