import { existsSync, rmSync } from 'node:fs';
import { BootError, type BootFile } from '@nestvm/boot';
import { DeviceError } from '@nestvm/devices';
import {
  type AtaConfig,
  createEventLoopHost,
  createMachine,
  type FlashConfig,
  type ImageConfig,
  type Machine,
  type MachineConfig,
  MachineError,
} from '@nestvm/machine';
import { AtaParts } from './ata.js';
import type { ArrivingDisk } from './blocks/arriving-disk.js';
import { Characters } from './characters/parts.js';
import { Ptys } from './characters/ptys.js';
import { UsageError } from './errors.js';
import { readInput, writeBytes } from './files.js';
import { firmwareConfig } from './firmware.js';
import { FlashParts } from './flash.js';
import { createKeptCode } from './kept-code.js';
import { adviseLargePages } from './large-pages.js';
import { LevelWatch } from './levels.js';
import { createTrace } from './log.js';
import { filePathOf } from './options/blockdev.js';
import { configure, type RunOptions } from './options/config.js';
import type { DriveSpec } from './options/drives.js';
import { parseOptions } from './options/parse.js';
import type { RtcSpec } from './options/time.js';
import type { TlbSpec } from './options/tlb.js';
import { isRemote, openRemoteDrives } from './remote-drives.js';
import { Session } from './session.js';
import { TextDisplay } from './text/display.js';
import { VirtioParts } from './virtio.js';

/** 31 bits of the host's chance. The generator behind them is no secret of cryptography, and loading that of Node takes longer than making the CPU. */
const randomSeed = (): number => 1 + Math.floor(Math.random() * (2 ** 31 - 1));

/** `nestvm run …`: the result is the status for the process. */
export async function run(args: readonly string[]): Promise<number> {
  const configured = configure(parseOptions(args), (option, path) => Buffer.from(readInput(option, path)).toString('utf8'));
  for (const warning of configured.warnings) process.stderr.write(`nestvm: warning: ${warning}\n`);
  const options = { ...configured, drives: await openDrives(configured) };
  const ptys = new Ptys(options, (line) => void process.stdout.write(line));
  const virtio = new VirtioParts();
  const session: Session = new Session(options, ptys, { virtio, characters: () => characters });
  const characters: Characters = new Characters(session.terminal, ptys);
  const ata = new AtaParts();
  const flash = new FlashParts();
  let screen: TextDisplay | undefined;
  let removePid = (): void => {};
  try {
    virtio.create(options, characters, session.media);
    await virtio.open();
    const machine = createFrom(options, characters, virtio, { ata: ata.create(options, session.media), flash: flash.create(options, session.media) });
    options.serial.forEach((spec, port) => characters.connect(spec, (bytes) => machine.receiveSerial(port, bytes)));
    session.onInput = characters.onTerminalInput;
    if (options.firmware.display === 'curses') {
      const display = new TextDisplay(machine, session.terminal, () => session.monitorShown);
      screen = display;
      session.onInput = (bytes) => display.input(bytes);
    }
    await characters.open();
    removePid = writePid(options.pidFile);
    if (options.log.length > 0) startLog(options, machine, characters);
    const watch = options.levels ? new LevelWatch(machine, levelLine, () => performance.now()) : undefined;
    const status = await session.run(machine);
    watch?.close();
    return status;
  } finally {
    removePid();
    screen?.close();
    characters.close();
    ptys.close();
    virtio.close();
    ata.close();
    flash.close();
    session.media.close();
  }
}

/** `-pidfile`: what it gives removes the file again. Throws `UsageError`. */
function writePid(path: string | undefined): () => void {
  if (path === undefined) return () => {};
  writeBytes('-pidfile', path, Buffer.from(`${process.pid}\n`));
  return () => rmSync(path, { force: true });
}

/** Throws `UsageError` where a drive's file is absent: a drive that no device has is not opened, but it was meant. */
function assertThere({ option, path, node }: DriveSpec): void {
  const file = node ? filePathOf(node) : path;
  if (file !== undefined && !isRemote(file) && !existsSync(file)) throw new UsageError(`${option}: ${file}: no such file; check the path`);
}

/** The drives with what has to be known before their images are opened. */
async function openDrives({ drives, incoming }: RunOptions): Promise<DriveSpec[]> {
  for (const drive of drives) assertThere(drive);
  const opened = await openRemoteDrives(drives);
  if (incoming === undefined) return opened;
  const arriving = new Set<ArrivingDisk>();
  return opened.map((drive) => ({ ...drive, arriving }));
}

/** Connects `-d`; the first reset has been made by now. */
function startLog({ log, logFile }: RunOptions, machine: Machine, characters: Characters): void {
  const trace = createTrace(log, machine, logOutput(logFile, characters));
  machine.trace(trace);
  trace.reset?.();
}

/** Where `-d` writes: the file of `-D`, or standard error. */
function logOutput(path: string | undefined, characters: Characters): (text: string) => void {
  if (path === undefined) return (text) => void process.stderr.write(text);
  const file = characters.file('-D', path);
  return (text) => file.print(text);
}

/** Lines among a guest's output: the terminal may be raw. */
const levelLine = (line: string): void => void process.stderr.write(`[levels] ${line}\r\n`);

/** What holds images beside virtio devices. */
interface Disks {
  readonly ata: AtaConfig;
  readonly flash: readonly FlashConfig[];
}

/** Makes the machine, turning what it cannot accept into one line for the user. */
function createFrom(options: RunOptions, characters: Characters, virtio: VirtioParts, disks: Disks): Machine {
  const { ata, flash } = disks;
  const config = { ...machineConfig(options, characters), virtio: virtio.configs, ata, ...(flash.length > 0 ? { flash } : {}) };
  try {
    return createMachine(config);
  } catch (error) {
    if (error instanceof BootError || error instanceof MachineError || error instanceof DeviceError) throw new UsageError(error.message);
    throw error;
  }
}

const file = (option: string, path: string): BootFile => ({ name: path, bytes: readInput(option, path) });

/** A file with one SMBIOS structure and its texts; throws `UsageError`. */
function smbiosStructure(path: string): Uint8Array {
  const bytes = readInput('-smbios file', path);
  const length = bytes[1] ?? 0;
  if (bytes.length < 6 || length < 4 || length + 2 > bytes.length || bytes.at(-1) !== 0 || bytes.at(-2) !== 0)
    throw new UsageError(`-smbios file ${path}: not a structure with its texts, which ends in two zeros`);
  return bytes;
}

function machineConfig(options: RunOptions, characters: Characters): MachineConfig {
  const { devices } = options;
  const images: ImageConfig[] = devices.images.map((image) => ({
    file: file('-device loader,file', image.path),
    address: image.address,
    ...(image.entry ? { entry: image.mode } : {}),
  }));
  const keptCode = createKeptCode(process.env['NESTVM_KEPT_CODE']);
  const debugSink = options.debugConsole && characters.sink('-debugcon', options.debugConsole.to);
  return {
    board: options.board,
    parts: options.boardProperties,
    cpu: options.cpu,
    nested: options.nesting[options.cpu.vendor],
    memoryBytes: options.memoryBytes,
    ...(options.kernel === undefined ? {} : { kernel: file('-kernel', options.kernel) }),
    modules: options.modules.map((module) => ({
      ...file('-initrd', module.path),
      ...(module.commandLine === undefined ? {} : { commandLine: module.commandLine }),
    })),
    ...(options.commandLine === undefined ? {} : { commandLine: options.commandLine }),
    ...firmwareConfig(options),
    smbios: { ...options.smbios.facts, structures: options.smbios.files.map((path) => smbiosStructure(path)) },
    images,
    serial: options.serial.map((spec) => characters.sink('-serial', spec)),
    ...(options.debugConsole && debugSink ? { debugConsole: { ...options.debugConsole, sink: debugSink } } : {}),
    ...(devices.debugExit ? { debugExit: devices.debugExit } : {}),
    testDevice: devices.testDevice,
    clock: options.clock,
    rtcSeconds: rtcSeconds(options.rtc),
    rtcClock: options.rtc.clock,
    seed: options.seed ?? (options.clock.kind === 'virtual' ? 1 : randomSeed()),
    host: createEventLoopHost(globalThis),
    reboot: options.reboot,
    ...(options.tlb ? { tlb: tlbConfig(options.tlb) } : {}),
    // What debugs translations wants to see each of them.
    jit: options.jit ?? options.tlb === undefined,
    ...(options.codeBytes === undefined ? {} : { codeBytes: options.codeBytes }),
    ...(keptCode === undefined ? {} : { keptCode }),
    onMemory: adviseLargePages,
    incoming: options.loadSnapshot !== undefined || options.incoming !== undefined,
  };
}

function tlbConfig({ evictSeed, sanitize }: TlbSpec): NonNullable<MachineConfig['tlb']> {
  return {
    ...(evictSeed === undefined ? {} : { evictSeed }),
    ...(sanitize ? { onStale: (cpu: number, line: string) => void process.stderr.write(`cpu${cpu}: ${line}\r\n`) } : {}),
  };
}

/** Seconds that the RTC shows at power-on. */
function rtcSeconds({ base }: RtcSpec): number {
  if (typeof base === 'number') return Math.floor(base / 1000);
  const now = Math.floor(Date.now() / 1000);
  return base === 'utc' ? now : now - new Date().getTimezoneOffset() * 60;
}
