/** `pnpm bench --migration`: the same idle and busy guest saved, loaded and moved by both emulators, over their monitors. */
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { BenchError } from '../src/index.js';
import { tableLines } from '../src/markdown.js';
import { dirtyLogCost } from './dirty-log.js';
import { EMULATOR_ENVIRONMENT, type Emulator } from './emulator.js';

const MEBIBYTE = 2 ** 20;
const PATIENCE_MS = 300_000;
const pause = (ms: number): Promise<void> => new Promise((done) => setTimeout(done, ms));

/** CPU time of a process to 10 ms, with its threads that have ended: QEMU migrates in one of its own. */
function cpuMsOf(pid: number): number {
  const text = readFileSync(`/proc/${pid}/stat`, 'latin1');
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
  return (Number(fields[11]) + Number(fields[12])) * 10;
}

/** 50 MB of new bytes a second in a file in memory. */
const DIRTY = '(while :; do dd if=/dev/zero bs=1M count=5 2>/dev/null | tr "\\000" $((i=1-i)) >/tmp/dirty; sleep 0.1; done) & true';

async function until(what: string, met: () => Promise<boolean> | boolean): Promise<void> {
  for (const end = performance.now() + PATIENCE_MS; !(await met()); await pause(20))
    if (performance.now() > end) throw new BenchError('no-guest', `${what}: not in ${PATIENCE_MS / 1000} s`);
}

/** One process of an emulator with its console and its monitor. */
class Process {
  output = '';
  private said = '';
  private ended = '';
  private socket: Socket | undefined;
  private readonly child: ChildProcess;
  private readonly startMs = performance.now();

  constructor(
    readonly emulator: Emulator,
    private readonly path: string,
    args: readonly string[],
  ) {
    const monitor = emulator.command.includes('qemu') ? `unix:${path},server=on,wait=off` : `unix:${path}`;
    const all = [...emulator.arguments, ...args, '-display', 'none', '-serial', 'stdio', '-monitor', monitor];
    this.child = spawn(emulator.command, all, { stdio: ['pipe', 'pipe', 'ignore'], env: EMULATOR_ENVIRONMENT });
    this.child.stdout?.on('data', (data) => (this.output += String(data)));
    this.child.stdin?.on('error', () => {});
    this.child.on('error', (error) => (this.ended = String(error)));
    this.child.on('exit', (code, signal) => (this.ended = `it ended with ${signal ?? code}`));
  }

  /** Waits for something of this process, which must live until then. */
  until(what: string, met: () => Promise<boolean> | boolean): Promise<void> {
    return until(`${this.emulator.name}: ${what}`, () => {
      if (this.ended !== '') throw new BenchError('no-guest', `${this.emulator.name}: ${what}: ${this.ended}\n${this.output.slice(-2000)}`);
      return met();
    });
  }

  type(line: string): void {
    this.child.stdin?.write(`${line}\n`);
  }

  /** CPU and wall time so far. */
  get used(): { readonly cpuMs: number; readonly wallMs: number } {
    return { cpuMs: cpuMsOf(this.child.pid ?? 0), wallMs: performance.now() - this.startMs };
  }

  /** A monitor command and what is printed up to the next prompt. */
  async ask(line: string): Promise<string> {
    await this.until('the monitor', () => this.open());
    this.said = '';
    this.socket!.write(`${line}\n`);
    // What a migration in the background comes to is told behind a prompt.
    await this.until(line, () => /\((?:qemu|nestvm)\) (?:migrate(?:d to|:) [^]*\n)?$/.test(this.said));
    return this.said;
  }

  kill(): void {
    this.child.kill('SIGKILL');
  }

  private async open(): Promise<boolean> {
    if (this.socket) return true;
    const socket = connect(this.path);
    const opened = await new Promise<boolean>((done) => socket.once('connect', () => done(true)).once('error', () => done(false)));
    if (!opened) return false;
    socket.on('data', (data) => (this.said += String(data))).on('error', () => {});
    this.socket = socket;
    await this.until('the prompt', () => this.said.endsWith(') '));
    return true;
  }
}

/** What moving took: of both processes together. */
interface Move {
  readonly totalMs: number;
  readonly downtimeMs: number;
  readonly cpuMs: number;
  readonly mebibytes: number;
}

class Bench {
  readonly processes: Process[] = [];
  private readonly isPeer: boolean;

  constructor(
    private readonly emulator: Emulator,
    private readonly machine: readonly string[],
    private readonly folder: string,
  ) {
    this.isPeer = emulator.command.includes('qemu');
  }

  start(...more: string[]): Process {
    const one = new Process(this.emulator, join(this.folder, `${this.isPeer ? 'q' : 'n'}${this.processes.length}`), [...this.machine, ...more]);
    this.processes.push(one);
    return one;
  }

  async save(guest: Process, file: string): Promise<{ wallMs: number; cpuMs: number }> {
    await guest.ask('stop');
    const before = guest.used;
    if (this.isPeer) {
      await guest.ask('migrate_set_parameter max-bandwidth 64G');
      await guest.ask(`migrate "exec:cat > ${file}"`);
    } else await guest.ask(`savevm ${file}`);
    const after = guest.used;
    await guest.ask('cont');
    return { wallMs: after.wallMs - before.wallMs, cpuMs: after.cpuMs - before.cpuMs };
  }

  async load(file: string): Promise<{ wallMs: number; cpuMs: number }> {
    const guest = this.isPeer ? this.start('-incoming', `exec:cat ${file}`) : this.start('-loadvm', file);
    await guest.until('the load', async () => !/inmigrate/.test(await guest.ask('info status')));
    const { wallMs, cpuMs } = guest.used;
    guest.kill();
    return { wallMs, cpuMs };
  }

  async move(from: Process): Promise<[Move, Process]> {
    const address = `unix:${join(this.folder, `line${this.processes.length}${this.isPeer ? 'q' : 'n'}`)}`;
    const to = this.start('-incoming', address);
    await to.ask('info status');
    await pause(WAIT_MS);
    await from.ask('migrate_set_parameter downtime-limit 100');
    if (this.isPeer) await from.ask('migrate_set_parameter max-bandwidth 64G');
    const [here, there] = [from.used, to.used];
    await from.ask(`migrate -d ${address}`);
    let told = '';
    const number = (pattern: RegExp): number => Number(pattern.exec(told)?.[1] ?? Number.NaN);
    const total = (): number => number(/total time: (\d+) ms/);
    // QEMU says that it is completed some moments before it has reckoned what it took.
    await from.until('the migration', async () => {
      told = await from.ask('info migrate');
      if (/failed/.test(told)) throw new BenchError('no-guest', `${this.emulator.name}: the migration failed: ${told}`);
      return /completed/.test(told) && total() > 0;
    });
    const cpuMs = from.used.cpuMs - here.cpuMs + to.used.cpuMs - there.cpuMs;
    const mebibytes = this.isPeer ? number(/transferred ram: (\d+) kbytes/) / 1024 : number(/transferred ram: ([\d.]+) MiB/);
    from.kill();
    return [{ totalMs: total(), downtimeMs: number(/\ndowntime: (\d+) ms/), cpuMs, mebibytes }, to];
  }
}

/** So long a target waits for its source. */
const WAIT_MS = 2000;

/** How often each emulator does all of it: the best of each row counts. */
const TURNS = 5;

interface Row {
  readonly name: string;
  readonly digits: number;
  /** Which of several values is the best. */
  readonly best: (...values: number[]) => number;
}

const moveRows = (guest: string): Row[] => [
  { name: `${guest}: total, ms`, digits: 0, best: Math.min },
  { name: `${guest}: downtime, ms`, digits: 0, best: Math.min },
  { name: `${guest}: sent, MiB`, digits: 1, best: Math.min },
  { name: `${guest}: MiB per CPU s (both sides, guest included)`, digits: 0, best: Math.max },
];

const ROWS: readonly Row[] = [
  { name: 'file, MiB', digits: 1, best: Math.min },
  { name: 'save, ms', digits: 0, best: Math.min },
  { name: 'save, MiB per CPU s', digits: 0, best: Math.max },
  { name: 'load with the start of the process, ms', digits: 0, best: Math.min },
  { name: 'the same, ms of CPU', digits: 0, best: Math.min },
  ...moveRows('idle'),
  ...moveRows('50 MB/s'),
];

/** MiB in a second of CPU, which is known to 10 ms. */
const rate = (mebibytes: number, cpuMs: number): number => (mebibytes / Math.max(10, cpuMs)) * 1000;

/** All of it for one emulator, once: the values of the rows. */
async function turn(emulator: Emulator, machine: readonly string[], folder: string): Promise<number[]> {
  const bench = new Bench(emulator, machine, folder);
  const file = join(folder, 'saved');
  try {
    const guest = bench.start();
    await guest.until('the boot', () => guest.output.includes('nestvm# '));
    const saved = await bench.save(guest, file);
    const size = existsSync(file) ? statSync(file).size / MEBIBYTE : Number.NaN;
    const loaded = await bench.load(file);
    // QEMU stays stopped behind a migration into a file: a fresh one moves.
    const [idle, second] = await bench.move(guest);
    second.type(DIRTY);
    await pause(2000);
    const [busy, third] = await bench.move(second);
    third.kill();
    const moves = [idle, busy].flatMap((move) => [move.totalMs, move.downtimeMs, move.mebibytes, rate(move.mebibytes, move.cpuMs)]);
    return [size, saved.wallMs, rate(size, saved.cpuMs), loaded.wallMs, loaded.cpuMs, ...moves];
  } finally {
    for (const one of bench.processes) one.kill();
  }
}

/** All of it for all emulators, in turns: a column each. */
async function columnsOf(emulators: readonly Emulator[], machine: readonly string[], folder: string): Promise<string[][]> {
  const turns = emulators.map((): number[][] => []);
  for (let number = 0; number < TURNS; number++) {
    for (const [i, emulator] of emulators.entries()) {
      const own = join(folder, `${number}${i}`);
      mkdirSync(own);
      console.error(`${emulator.name}, turn ${number + 1} of ${TURNS}`);
      turns[i]!.push(await turn(emulator, machine, own));
      rmSync(own, { recursive: true });
    }
  }
  return turns.map((own) => ROWS.map(({ digits, best }, row) => best(...own.map((values) => values[row]!)).toFixed(digits)));
}

/** What it boots. */
export interface MigrationGuest {
  readonly kernel: string;
  readonly initramfs: string;
  readonly machine: readonly string[];
}

/** The table of what migrating takes; the first emulator is this project's own, whose dirty log is looked at in this process. */
export async function migrationTable(emulators: readonly Emulator[], { kernel, initramfs, machine }: MigrationGuest): Promise<string> {
  const folder = mkdtempSync(join(tmpdir(), 'nestvm-bench-'));
  try {
    const boot = ['-kernel', kernel, '-initrd', initramfs, '-append', 'console=ttyS0 quiet cryptomgr.notests'];
    const columns = await columnsOf(emulators, [...machine, ...boot], folder);
    const { percent, worst } = await dirtyLogCost(kernel, initramfs);
    const rows = ROWS.map(({ name }, i) => [name, ...columns.map((values) => values[i]!)]);
    const others = emulators.slice(1).map(() => '–');
    rows.push(
      ['dirty log: cost to a running guest, % of its CPU time', percent.toFixed(1), ...others],
      ['the same, of the test that pays most', `${worst.percent.toFixed(1)} (${worst.test})`, ...others],
    );
    return `${tableLines(['1 GiB guest', ...emulators.map(({ name }) => name)], rows).join('\n')}\n`;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
