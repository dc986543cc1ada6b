/** `pnpm bench`: the same kernel and initramfs on Nestvm and, where it is installed, on QEMU's TCG, in turns; and the packages' own benchmarks. See `--help`. */
import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import {
  BenchError,
  ConsoleReader,
  compare,
  formatCategories,
  formatMarkdown,
  type Measurement,
  type Run,
  type Subject,
  type Usage,
} from '../src/index.js';
import { type BrowserBenchOptions, browserTable } from './browser/table.js';
import { DeviceBench, deviceGuest } from './devices.js';
import { replaceSection, writeDocument } from './document.js';
import { type Emulator, watch } from './emulator.js';
import { eventsAmong, withEvents } from './events.js';
import {
  browserExplanation,
  categoriesExplanation,
  deviceExplanation,
  explanation,
  INTERPRETED_DIVISOR,
  interpreterExplanation,
  ltsExplanation,
  migrationExplanation,
  nestedExplanation,
} from './explanations.js';
import { calibrate, startUp } from './host.js';
import { migrationTable } from './live-migration.js';
import { microBenchmarks } from './micro.js';
import { nestedTable } from './nested.js';
import { nodeVersionsTable } from './node-versions.js';

const root = fileURLToPath(new URL('../../../', import.meta.url));

const documentPath = join(root, 'docs/reference/bench.md');

const HELP = `pnpm bench [options]: Nestvm against QEMU TCG, paired in one run

--runs N      boots per emulator (3); the best of them counts
--scale N     divides the work of every test (1)
--only a,b    only these tests (--devices: or all with one beginning: disk,files,user,socket)
--accel A     Nestvm's -accel, and nothing beside it (tcg,jit=off: without its JIT)
--machine M   QEMU's name of the machine (pc)
--timeout S   seconds that one boot may take (300)
--no-peer     without QEMU
--no-count    without the extra run that counts instructions (QEMU, -icount)
--no-interpreter  without the list without the JIT
--no-micro    without the packages' own benchmarks
--no-nested   without the list in L2 and in L3
--nested      the list in L2 and in L3 against the list in L1, and nothing else (--write: into its section of bench.md)
--levels N    levels of that (3)
--vendor V    only vmx, or only svm, of that
--migration   saving, loading and moving a guest of 1 GiB, and nothing else (--write: into its section of bench.md)
--devices     disk and networks in place of the processor's tests
--rounds N    the list of --devices so often in each boot, of which the last counts (6): the first ones warm up
--browser     Nestvm in headless Chromium against Nestvm in Node, with and without its JIT, by the wall clock, and nothing else (--write: into its section of bench.md)
--lts         Nestvm on the newest LTS of Node against this Node, with and without its JIT, and nothing else (--write: likewise)
--write       also writes docs/reference/bench.md (--devices: bench-devices.md)
--help        this text
`;

const { values: options } = parseArgs({
  options: {
    runs: { type: 'string', default: '3' },
    scale: { type: 'string', default: '1' },
    only: { type: 'string' },
    accel: { type: 'string' },
    machine: { type: 'string', default: 'pc' },
    timeout: { type: 'string', default: '300' },
    'no-peer': { type: 'boolean' },
    'no-count': { type: 'boolean' },
    'no-interpreter': { type: 'boolean' },
    'no-micro': { type: 'boolean' },
    nested: { type: 'boolean' },
    'no-nested': { type: 'boolean' },
    levels: { type: 'string', default: '3' },
    vendor: { type: 'string' },
    migration: { type: 'boolean' },
    devices: { type: 'boolean' },
    rounds: { type: 'string', default: '6' },
    browser: { type: 'boolean' },
    lts: { type: 'boolean' },
    write: { type: 'boolean' },
    help: { type: 'boolean' },
  },
  // pnpm hands over a `--` of its own.
  args: process.argv.slice(2).filter((argument) => argument !== '--'),
});

function guest(): { kernel: string; initramfs: string } {
  const paths = { kernel: join(root, 'build/guests/vmlinuz'), initramfs: join(root, 'build/guests/initrd.cpio') };
  execFileSync(process.execPath, [join(root, 'tools/guests/build.mjs')], { stdio: ['ignore', 'ignore', 'inherit'] });
  if (!existsSync(paths.kernel)) throw new BenchError('no-guest', `${paths.kernel} was not built; run \`pnpm guests\` and see what it says.`);
  return paths;
}

function commandLine(divisor: number, only: string | undefined): string {
  const words = ['console=ttyS0', 'quiet', 'cryptomgr.notests', 'nestvm.run=bench', `nestvm.scale=${Number(options.scale) * divisor}`];
  if (only) words.push(`nestvm.bench=${only}`);
  return words.join(' ');
}

function debian(divisor: number, only: string | undefined): string[] {
  const { kernel, initramfs } = guest();
  const words = ['-append', commandLine(divisor, only), '-nographic', '-no-reboot'];
  return ['-M', options.machine, '-m', '512M', '-kernel', kernel, '-initrd', initramfs, ...words];
}

/** Calls `use` with the machines that the list needs, one after the other: Debian's, and that of the category `system`. */
async function withMachines<T>(divisor: number, use: (machines: readonly (readonly string[])[]) => Promise<T>): Promise<T> {
  const { events, others } = eventsAmong(options.only);
  const first = others === '' ? [] : [debian(divisor, others)];
  if (events?.length === 0) return use(first);
  return withEvents(divisor * Number(options.scale), events, (machine) => use([...first, machine]));
}

const nestvm: Emulator = {
  name: 'Nestvm',
  command: process.execPath,
  arguments: [join(root, 'tools/workspace/nestvm.mjs'), ...(options.accel ? ['-accel', options.accel] : [])],
};
const interpreting: Emulator = { name: 'Nestvm without its JIT', command: nestvm.command, arguments: [...nestvm.arguments, '-accel', 'tcg,jit=off'] };
const qemu: Emulator = { name: 'QEMU TCG', command: 'qemu-system-x86_64', arguments: ['-accel', 'tcg'] };
const counting: Emulator = { ...qemu, arguments: ['-accel', 'tcg', '-icount', 'shift=0,sleep=off'] };

const readConsole = (sample: () => Usage): ConsoleReader => new ConsoleReader(sample);

const has = (command: string): boolean => spawnSync(command, ['--version'], { stdio: 'ignore' }).status === 0;

/** Runs the machines of a list one after the other. */
async function runList(emulator: Emulator, machines: readonly (readonly string[])[]): Promise<{ run: Run; peakBytes: number }> {
  const all = { boot: null as Usage | null, tests: new Map<string, Measurement>(), complete: true };
  let peak = 0;
  for (const machine of machines) {
    const { run, peakBytes, tail } = await watch(emulator, machine, Number(options.timeout) * 1000, readConsole);
    if (!run.complete)
      console.error(`${emulator.name} did not come to the end of the list (${run.tests.size} tests done). Its last output:\n${tail}`);
    for (const [name, test] of run.tests) all.tests.set(name, test);
    all.boot ??= run.boot;
    all.complete &&= run.complete;
    peak = Math.max(peak, peakBytes);
  }
  return { run: all, peakBytes: peak };
}

async function runInTurns(emulators: readonly Emulator[], machines: () => readonly (readonly string[])[]): Promise<Subject[]> {
  const collected = emulators.map(() => ({ runs: [] as Run[], peakBytes: 0 }));
  for (let turn = 0; turn < Number(options.runs); turn++) {
    for (const [i, emulator] of emulators.entries()) {
      console.error(`${emulator.name}, run ${turn + 1} of ${options.runs}`);
      const { run, peakBytes } = await runList(emulator, machines());
      collected[i].runs.push(run);
      collected[i].peakBytes = Math.max(collected[i].peakBytes, peakBytes);
    }
  }
  return emulators.map(({ name }, i) => ({ name, ...collected[i] }));
}

/** With -icount shift=0 QEMU's virtual time is one nanosecond for each instruction, so the guest's own seconds count instructions. */
async function countInstructions(machines: readonly (readonly string[])[]): Promise<Map<string, number>> {
  console.error('QEMU TCG with -icount, to count instructions');
  const { run } = await runList(counting, machines);
  return new Map([...run.tests].map(([name, { guestSeconds }]) => [name, guestSeconds * 1e9]));
}

function hostLine(): string {
  const model = existsSync('/proc/cpuinfo') ? /model name\s*: (.*)/.exec(readFileSync('/proc/cpuinfo', 'utf8'))?.[1] : undefined;
  const peer = has('qemu-system-x86_64') ? execFileSync('qemu-system-x86_64', ['--version'], { encoding: 'utf8' }).split('\n')[0] : 'no QEMU';
  return `Node ${process.versions.node}, ${peer}, ${model ?? 'unknown CPU'}, machine \`${options.machine}\`, ${options.runs} runs each, work divided by ${options.scale}.`;
}

function startUpLine(emulators: readonly Emulator[]): string {
  const times = emulators.map((emulator) => {
    const time = startUp(emulator);
    return `${emulator.name} ${time ? `${time.wallMs.toFixed(0)} ms (${time.cpuMs.toFixed(0)} ms of CPU)` : 'failed'}`;
  });
  return `From the start of the process through the guest's first instructions to its end: ${times.join(', ')}.`;
}

async function nested(): Promise<string> {
  const { scale, only, vendor } = options;
  const numbers = { runs: Math.min(Number(options.runs), 2), levels: Number(options.levels), timeoutMs: Number(options.timeout) * 10_000 };
  const peer = !options['no-peer'] && has('qemu-system-x86_64') ? qemu : undefined;
  return `${nestedExplanation}\n${await nestedTable({ root, emulator: nestvm, interpreter: options.accel ? nestvm : interpreting, peer, scale, only, vendor, ...numbers })}`;
}

async function migration(): Promise<void> {
  const emulators = !options['no-peer'] && has('qemu-system-x86_64') ? [nestvm, qemu] : [nestvm];
  const text = `${migrationExplanation}\n${hostLine().replace(/, \d+ runs each.*/, '.')}\n\n${await migrationTable(emulators, { ...guest(), machine: ['-M', options.machine, '-m', '1024M'] })}`;
  console.log(text);
  if (options.write) replaceSection(documentPath, text);
}

async function lts(): Promise<void> {
  const machines = [debian(INTERPRETED_DIVISOR, options.only)];
  const text = `${ltsExplanation}\n${await nodeVersionsTable(root, nestvm.arguments, (emulators) => runInTurns(emulators, () => machines))}`;
  console.log(text);
  if (options.write) replaceSection(documentPath, text);
}

async function browser(): Promise<void> {
  const board = options.machine as BrowserBenchOptions['board'];
  const numbers = { runs: Number(options.runs), timeoutMs: Number(options.timeout) * 1000 };
  const text = `${browserExplanation}\n${await browserTable({ ...guest(), board, commandLine: commandLine(INTERPRETED_DIVISOR, options.only), ...numbers })}`;
  console.log(text);
  if (options.write) replaceSection(documentPath, text);
}

async function devices(): Promise<void> {
  const { kernel, initramfs } = deviceGuest(root);
  const emulators = !options['no-peer'] && has('qemu-system-x86_64') ? [nestvm, qemu] : [nestvm];
  const surroundings = await DeviceBench.open(nestvm);
  try {
    const only = options.only ? [`nestvm.bench=${options.only}`] : [];
    const words = [
      'console=ttyS0',
      'quiet',
      'cryptomgr.notests',
      `nestvm.scale=${options.scale}`,
      `nestvm.rounds=${options.rounds}`,
      ...only,
      ...surroundings.words,
    ];
    const rest = ['-kernel', kernel, '-initrd', initramfs, '-append', words.join(' '), '-nographic', '-no-reboot'];
    const machines = (): string[][] => [['-M', options.machine, '-m', '256M', ...surroundings.machine(), ...rest]];
    const subjects = await runInTurns(emulators, machines);
    const text = `${hostLine()}\n\n${formatMarkdown(compare(subjects, new Map()))}`;
    console.log(text);
    if (options.write) writeFileSync(join(root, 'docs/reference/bench-devices.md'), `${deviceExplanation}\n${text}`);
    if (subjects[0].runs.some((run) => !run.complete)) process.exitCode = 1;
  } finally {
    surroundings.close();
  }
}

async function main(): Promise<void> {
  if (options.help) {
    console.log(HELP);
    return;
  }
  if (options.browser) return browser();
  if (options.lts) return lts();
  if (options.devices) return devices();
  if (options.migration) return migration();
  if (options.nested) {
    const text = await nested();
    console.log(text);
    if (options.write) replaceSection(documentPath, text);
    return;
  }
  await everything();
}

/** The list without the compiler of hot code, which has a section of its own. */
async function interpreted(peers: readonly Emulator[]): Promise<string> {
  return withMachines(INTERPRETED_DIVISOR, async (machines) => {
    const comparison = compare(await runInTurns([interpreting, ...peers], () => machines));
    return `${interpreterExplanation}\n${formatMarkdown(comparison)}`;
  });
}

/** The list as users get it, or with their `--accel`. */
async function list(peers: readonly Emulator[]): Promise<{ table: string; complete: boolean }> {
  return withMachines(1, async (machines) => {
    const subjects = await runInTurns([nestvm, ...peers], () => machines);
    const instructions = peers.length > 0 && !options['no-count'] ? await countInstructions(machines) : new Map<string, number>();
    const comparison = compare(subjects, instructions);
    const byCategory = formatCategories(comparison);
    const table = `${formatMarkdown(comparison)}${byCategory && `\n${categoriesExplanation}\n${byCategory}`}`;
    return { table, complete: subjects[0].runs.every((run) => run.complete) };
  });
}

async function everything(): Promise<void> {
  const before = calibrate();
  const peers = !options['no-peer'] && has('qemu-system-x86_64') ? [qemu] : [];
  const { table, complete } = await list(peers);
  const sections = options.accel || options['no-interpreter'] ? [] : [await interpreted(peers)];
  if (!options['no-nested']) sections.push(await nested());
  if (!options['no-micro']) sections.push(`## Packages\n\n${microBenchmarks(root)}`);
  const calibration = `Calibration: ${before.toFixed(0)} before and ${calibrate().toFixed(0)} after, in millions of turns of a xorshift loop in a second of CPU time.`;
  const head = `${hostLine()}\n${calibration}\n${startUpLine([nestvm, ...peers])}\n\n${table}`;
  console.log([head, ...sections].join('\n'));
  if (options.write) writeDocument(documentPath, `${explanation}\n${head}`, sections);
  if (!complete) process.exitCode = 1;
}

try {
  await main();
} catch (error) {
  if (!(error instanceof BenchError)) throw error;
  console.error(`bench: ${error.message}`);
  process.exitCode = 2;
}
