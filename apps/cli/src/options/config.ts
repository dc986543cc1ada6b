import type { CpuModel, CpuTopology, Nesting } from '@nestvm/isa/models';
import type { BoardName } from '@nestvm/machine';
import { UsageError } from '../errors.js';
import { parseActions } from './actions.js';
import { assertAgreement } from './agreement.js';
import { parseNetworks } from './all-networks.js';
import { acceptAccelerator, parseMachine } from './board.js';
import { type CharacterSpec, parseCharacterDevice, parseChardevs } from './character.js';
import { parseMemory, parseModel, parseSmp } from './cpu.js';
import { type DeviceSpecs, deviceRows, parseDevices } from './devices.js';
import { type DriveSpec, parseDrives, placeFlash } from './drives.js';
import { type FirmwareSpec, parseFirmware } from './firmware.js';
import { type FirmwareFileSpec, parseFirmwareFiles } from './firmware-files.js';
import { type FolderSpec, parseFolders } from './folders.js';
import { type Globals, parseGlobals } from './globals.js';
import { type LogItem, parseLog } from './log.js';
import { type MonitorSpec, parseMonitors } from './monitors.js';
import { parseNesting } from './nesting.js';
import type { NetworkSpecs } from './networks.js';
import { dumpsOf, type ObjectSpec, parseObjects } from './objects.js';
import { last, type RawOptions } from './parse.js';
import { parseSmbios, type SmbiosSpec } from './smbios.js';
import { parseInteger, parseProperties, splitCommas } from './text.js';
import { type ClockSpec, parseIcount, parseRtc, type RtcSpec } from './time.js';
import { parseTlb, type TlbSpec } from './tlb.js';

/** A file and the text that goes with it. */
export interface ModuleSpec {
  readonly path: string;
  readonly commandLine?: string;
}

/** Everything that `nestvm run` was told, checked, before any file is opened. */
export interface RunOptions {
  readonly name: string;
  /** Where the number of the process is to stand. */
  readonly pidFile: string | undefined;
  readonly board: BoardName;
  readonly boardProperties: Readonly<Record<string, boolean>>;
  readonly cpu: CpuModel;
  readonly topology: CpuTopology;
  readonly memoryBytes: number;
  readonly kernel?: string;
  readonly modules: readonly ModuleSpec[];
  readonly commandLine?: string;
  readonly firmware: FirmwareSpec;
  readonly firmwareFiles: readonly FirmwareFileSpec[];
  readonly smbios: SmbiosSpec;
  /** Those of `-chardev` by their id, and those that are added while the machine runs. */
  readonly characters: Map<string, CharacterSpec>;
  readonly serial: readonly CharacterSpec[];
  /** What the guest has of the terminal, if anything of it reads there. */
  readonly terminal?: Extract<CharacterSpec, { kind: 'stdio' }>;
  readonly debugConsole?: { readonly port: number; readonly to: CharacterSpec; readonly readback?: number };
  readonly devices: DeviceSpecs;
  /** `-global`. */
  readonly globals: Globals;
  readonly drives: readonly DriveSpec[];
  readonly networks: NetworkSpecs;
  readonly folders: readonly FolderSpec[];
  readonly clock: ClockSpec;
  readonly rtc: RtcSpec;
  readonly reboot: boolean;
  readonly shutdown: boolean;
  readonly paused: boolean;
  readonly escape: number;
  readonly seed?: number;
  /** Nested virtualization: which vendor's CPUs may have it. */
  readonly nesting: Nesting;
  /** Whether to print which level runs, and exit counts at the end. */
  readonly levels: boolean;
  readonly monitors: readonly MonitorSpec[];
  readonly tlb?: TlbSpec;
  /** Whether hot code is compiled, and how much room that may take (`-accel tcg,jit=off`, `-accel tcg,tb-size=64`). */
  readonly jit?: boolean | 'force' | 'mixed';
  readonly codeBytes?: number;
  /** The snapshot to start from, or whence a machine comes. */
  readonly loadSnapshot?: string;
  readonly incoming?: string;
  /** Every `-object`. */
  readonly objects: readonly ObjectSpec[];
  readonly log: readonly LogItem[];
  readonly logFile?: string;
  readonly warnings: readonly string[];
}

/** Checks what `parseOptions` found; `readText` opens the files that say options (`--modprobe`). Throws `UsageError`. */
export function configure(raw: RawOptions, readText: (option: string, path: string) => string): RunOptions {
  const warnings: string[] = [];
  const { board, properties, flash } = parseMachine(raw, warnings);
  const topology = parseSmp(last(raw, 'smp'));
  const files = (raw.get('modprobe') ?? []).map((path) => ({ path, text: readText('--modprobe', path) }));
  const nesting = parseNesting(raw.has('nested'), files, warnings);
  const cpu = parseModel(last(raw, 'cpu') ?? 'max', topology, nesting, warnings);
  const characters = parseChardevs(raw.get('chardev') ?? []);
  const globals = parseGlobals(raw.get('global') ?? [], deviceRows);
  const devices = parseDevices(raw.get('device') ?? [], characters, globals);

  assertAgreement(devices, raw);
  const drives = placeFlash(parseDrives(raw, board !== 'microvm'), flash);
  const firmware = parseFirmware(
    raw,
    drives.length > 0,
    drives.some(({ flash }) => flash !== undefined),
  );
  const debugcon = last(raw, 'debugcon');
  const debugConsole =
    debugcon !== undefined && debugcon !== 'none'
      ? { port: 0xe9, to: parseCharacterDevice('-debugcon', debugcon, characters) }
      : devices.debugConsole;
  const objects = parseObjects(raw);
  const loadSnapshot = last(raw, 'loadvm');
  const incoming = last(raw, 'incoming');
  const monitors = parseMonitors(raw, characters);
  const tlb = parseTlb(last(raw, 'tlb'));
  const seed = last(raw, 'seed');
  const logFile = last(raw, 'D');
  const clock = parseIcount(last(raw, 'icount'));
  acceptNone(raw, warnings);
  const onTerminal = firmware.display === 'curses';
  const serial = parseSerial(raw, characters, devices, monitors, onTerminal);
  const terminal = onTerminal
    ? ({ kind: 'stdio', monitor: true } as const)
    : [...serial, ...consoleCharacters(devices)].find((spec) => spec.kind === 'stdio');
  const accelerators = (raw.get('accel') ?? []).map((accel) => acceptAccelerator(`-accel ${accel}`, accel, warnings));
  return {
    pidFile: last(raw, 'pidfile'),
    name: parseProperties(last(raw, 'name') ?? 'nestvm').head || 'nestvm',
    board,
    boardProperties: properties,
    cpu,
    topology,
    memoryBytes: parseMemory(last(raw, 'm')),
    ...parseBoot(raw, devices, firmware),
    firmware,
    firmwareFiles: parseFirmwareFiles(raw, warnings),
    smbios: parseSmbios(raw),
    characters,
    serial,
    ...(terminal ? { terminal } : {}),
    ...(debugConsole ? { debugConsole } : {}),
    devices,
    globals,
    drives,
    networks: parseNetworks(raw, dumpsOf(objects)),
    folders: parseFolders(raw),
    clock,
    rtc: parseRtc(last(raw, 'rtc'), clock),
    ...parseActions(raw),
    paused: raw.has('S'),
    escape: parseInteger('-echr', last(raw, 'echr') ?? '1', 0, 255),
    ...(seed === undefined ? {} : { seed: parseInteger('-seed', seed, 0, 0xffffffff) }),
    nesting,
    levels: raw.has('levels'),
    ...(loadSnapshot === undefined ? {} : { loadSnapshot }),
    ...(incoming === undefined ? {} : { incoming }),
    objects,
    monitors,
    ...(tlb === undefined ? {} : { tlb }),
    ...Object.assign({}, ...accelerators),
    log: parseLog(last(raw, 'd')),
    ...(logFile === undefined ? {} : { logFile }),
    warnings,
  };
}

/** What is loaded, and that something is. */
function parseBoot(raw: RawOptions, devices: DeviceSpecs, firmware: FirmwareSpec): Pick<RunOptions, 'kernel' | 'modules' | 'commandLine'> {
  const kernel = last(raw, 'kernel');
  const commandLine = last(raw, 'append');
  const modules = parseInitrd(last(raw, 'initrd'));
  if (kernel === undefined && commandLine !== undefined) throw new UsageError('-append: a command line without a kernel; add -kernel FILE');
  if (kernel === undefined && modules.length > 0) throw new UsageError('-initrd: an initrd without a kernel; add -kernel FILE');
  const comesFromElsewhere = raw.has('loadvm') || raw.has('incoming');
  const starts = firmware.bios !== undefined || firmware.flash || firmware.wanted || devices.images.some((image) => image.entry);
  if (!comesFromElsewhere && kernel === undefined && !starts) {
    throw new UsageError(
      "nothing to run: give a disk with -hda FILE or a kernel with -kernel FILE ('nestvm demo' brings its own; 'nestvm run -help' shows examples)",
    );
  }
  return {
    modules,
    ...(kernel === undefined ? {} : { kernel }),
    ...(commandLine === undefined ? {} : { commandLine }),
  };
}

function acceptNone(raw: RawOptions, warnings: string[]): void {
  if (raw.has('enable-kvm')) warnings.push('-enable-kvm: Nestvm emulates every instruction itself; ignored');
  const parallel = (raw.get('parallel') ?? []).find((value) => value !== 'none');
  if (parallel !== undefined) throw new UsageError(`-parallel ${parallel}: there is no parallel port; write -parallel none`);
}

function parseInitrd(text: string | undefined): ModuleSpec[] {
  if (text === undefined) return [];
  return splitCommas(text).map((part) => {
    const trimmed = part.trim();
    const space = trimmed.indexOf(' ');
    return space < 0 ? { path: trimmed } : { path: trimmed.slice(0, space), commandLine: trimmed };
  });
}

function parseSerial(
  raw: RawOptions,
  characters: ReadonlyMap<string, CharacterSpec>,
  devices: DeviceSpecs,
  monitors: readonly MonitorSpec[],
  display: boolean,
): CharacterSpec[] {
  const taken = monitors.find(({ place }) => place.kind === 'stdio');
  if (display && taken) throw new UsageError(`${taken.option} stdio: -display curses has the terminal; press Ctrl-A c for a monitor there`);
  const consoles = consoleCharacters(devices).filter((spec) => spec.kind === 'stdio').length;
  const given = placeSerial(
    (raw.get('serial') ?? []).map((text): CharacterSpec => parseCharacterDevice('-serial', text, characters)),
    devices.serial,
  );
  if (given.length > 4) throw new UsageError(`-serial: ${given.length} ports; a machine has 4`);
  if (given.length === 0 && (!raw.has('nodefaults') || raw.has('nographic')))
    return checkTerminal([taken || display || consoles > 0 ? { kind: 'null' } : { kind: 'stdio', monitor: true }], taken, consoles);
  if (display && given.some((spec) => spec.kind === 'stdio'))
    throw new UsageError('-serial stdio: -display curses has the terminal; write -serial file:F or null');
  return checkTerminal(given, taken, consoles);
}

const consoleCharacters = ({ virtio }: DeviceSpecs): CharacterSpec[] =>
  virtio.flatMap((spec) => (spec.kind === 'console' ? spec.ports.map(({ to }) => to) : []));

/** Throws unless the terminal has one user at most. */
function checkTerminal(given: CharacterSpec[], taken: MonitorSpec | undefined, consoles: number): CharacterSpec[] {
  const terminals = given.filter((spec) => spec.kind === 'stdio').length + consoles;
  if (taken && terminals > 0)
    throw new UsageError(`${taken.option} stdio: the terminal belongs to a serial port or console; write -serial file:F or null beside it`);
  if (terminals > 1) throw new UsageError('-serial: only one port or console can be on the terminal; send the others to file:F or null');
  return given;
}

/** The ports in order: those of `-serial` first, each `-device isa-serial` at its index or behind them. */
function placeSerial(first: readonly CharacterSpec[], plugged: DeviceSpecs['serial']): CharacterSpec[] {
  const ports: (CharacterSpec | undefined)[] = [...first];
  const wanted = [...plugged].sort((a, b) => Number(a.index === undefined) - Number(b.index === undefined));
  for (const { index, to } of wanted) {
    const free = [...ports, undefined].findIndex((port) => port === undefined);
    if (index !== undefined && ports[index] !== undefined)
      throw new UsageError(`-device isa-serial,index=${index}: this port is taken already; choose another index, or leave it out`);
    ports[index ?? free] = to;
  }
  return Array.from(ports, (port) => port ?? { kind: 'none' });
}
