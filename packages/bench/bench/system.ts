/** `pnpm bench`: the same kernel and initramfs on Nestvm and, where it is installed, on QEMU's TCG, in turns; and the packages' own benchmarks. See `--help`. */
import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { BenchError, ConsoleReader, compare, formatMarkdown, type Run, type Subject, type Usage } from '../src/index.js';
import { type BrowserBenchOptions, browserTable } from './browser/table.js';
import { DeviceBench, deviceGuest } from './devices.js';
import { type Emulator, watch } from './emulator.js';
import { calibrate, startUp } from './host.js';
import { migrationTable } from './live-migration.js';
import { nestedTable } from './nested.js';
import { nodeVersionsTable } from './node-versions.js';

const root = fileURLToPath(new URL('../../../', import.meta.url));

const HELP = `pnpm bench [options]: Nestvm against QEMU TCG, paired in one run

--runs N      boots per emulator (3); the best of them counts
--scale N     divides the work of every test (1)
--only a,b    only these tests (--devices: or all with one beginning: disk,files,user,socket)
--accel A     Nestvm's -accel, and nothing beside it (tcg,jit=off: without its JIT)
--machine M   QEMU's name of the machine (pc)
--timeout S   seconds that one boot may take (300)
--no-peer     without QEMU
--no-count    without the extra run that counts instructions (QEMU, -icount)
--no-micro    without the packages' own benchmarks
--no-nested   without the list in L2 and in L3
--nested      the list in L2 and in L3 against the list in L1, and nothing else (--write: into its section of bench.md)
--levels N    levels of that (3)
--vendor V    only vmx, or only svm, of that
--migration   saving, loading and moving a guest of 1 GiB, and nothing else (--write: into its section of bench.md)
--devices     disk and networks in place of the processor's tests
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
    'no-micro': { type: 'boolean' },
    nested: { type: 'boolean' },
    'no-nested': { type: 'boolean' },
    levels: { type: 'string', default: '3' },
    vendor: { type: 'string' },
    migration: { type: 'boolean' },
    devices: { type: 'boolean' },
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

function commandLine(): string {
  const words = ['console=ttyS0', 'quiet', 'cryptomgr.notests', 'nestvm.run=bench', `nestvm.scale=${options.scale}`];
  if (options.only) words.push(`nestvm.bench=${options.only}`);
  return words.join(' ');
}

function machineArguments(): string[] {
  const { kernel, initramfs } = guest();
  return ['-M', options.machine, '-m', '512M', '-kernel', kernel, '-initrd', initramfs, '-append', commandLine(), '-nographic', '-no-reboot'];
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

async function runInTurns(emulators: readonly Emulator[], machine: () => readonly string[]): Promise<Subject[]> {
  const timeoutMs = Number(options.timeout) * 1000;
  const collected = emulators.map(() => ({ runs: [] as Run[], peakBytes: 0 }));
  for (let turn = 0; turn < Number(options.runs); turn++) {
    for (const [i, emulator] of emulators.entries()) {
      console.error(`${emulator.name}, run ${turn + 1} of ${options.runs}`);
      const { run, peakBytes, tail } = await watch(emulator, machine(), timeoutMs, readConsole);
      if (!run.complete)
        console.error(`${emulator.name} did not come to the end of the list (${run.tests.size} tests done). Its last output:\n${tail}`);
      collected[i].runs.push(run);
      collected[i].peakBytes = Math.max(collected[i].peakBytes, peakBytes);
    }
  }
  return emulators.map(({ name }, i) => ({ name, ...collected[i] }));
}

/** With -icount shift=0 QEMU's virtual time is one nanosecond for each instruction, so the guest's own seconds count instructions. */
async function countInstructions(machine: readonly string[]): Promise<Map<string, number>> {
  console.error('QEMU TCG with -icount, to count instructions');
  const { run } = await watch(counting, machine, Number(options.timeout) * 1000, readConsole);
  return new Map([...run.tests].map(([name, { guestSeconds }]) => [name, guestSeconds * 1e9]));
}

/** Output of one benchmark of a package: a script that prints, or a file of vitest's. */
function runMicro(file: string): string {
  const isVitest = readFileSync(join(root, file), 'utf8').includes("from 'vitest'");
  const [tool, ...words] = isVitest ? ['vitest', 'bench', '--run', file] : ['tsx', '--conditions=@nestvm/source', file];
  const env = { ...process.env, NO_COLOR: '1', CI: '1' };
  const { stdout, stderr, status } = spawnSync(join(root, 'node_modules/.bin', tool), words, { cwd: root, encoding: 'utf8', timeout: 180_000, env });
  if (status !== 0) return `failed${status === null ? ' (180 s were not enough)' : ''}:\n${stderr.trim()}`;
  // Neither paths of this machine nor its name belong in a document.
  return stdout.trim().replaceAll(root, '').replaceAll(root.replace(/\/$/, ''), '.');
}

/** Every `packages/X/bench/*.bench.ts`. */
function microBenchmarks(): string {
  const files = readdirSync(join(root, 'packages')).flatMap((name) => {
    const folder = join(root, 'packages', name, 'bench');
    return existsSync(folder)
      ? readdirSync(folder)
          .filter((file) => file.endsWith('.bench.ts'))
          .map((file) => join(folder, file))
      : [];
  });
  return files
    .map((file) => {
      const name = file.slice(root.length);
      console.error(name);
      return `### ${name}\n\n\`\`\`\n${runMicro(name)}\n\`\`\`\n`;
    })
    .join('\n');
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

const nestedExplanation = `## Nested guests

The list in L1, then, in the same boot, in L2 under Debian's KVM and in L3 under L2's KVM, EPT or NPT on, a nanosecond of guest
time for each instruction, without the JIT, whose warm-up would hide what nesting costs: CPU time in L2 and L3 in terms of L1's, without what printing the lines
of a test costs there; beside it the instructions that all levels execute for the test in terms of L1's: hypervisors serve 250 timer ticks
for each thousand million, which is what user code costs beyond its own. Exits are those of a small guest to KVM and back (\`tools/guests/programs/tkvm.c\`): KVM's own work is most of them.
`;

async function nested(): Promise<string> {
  const { scale, only, vendor } = options;
  const numbers = { runs: Math.min(Number(options.runs), 2), levels: Number(options.levels), timeoutMs: Number(options.timeout) * 10_000 };
  const peer = !options['no-peer'] && has('qemu-system-x86_64') ? qemu : undefined;
  return `${nestedExplanation}\n${await nestedTable({ root, emulator: nestvm, interpreter: options.accel ? nestvm : interpreting, peer, scale, only, vendor, ...numbers })}`;
}

const migrationExplanation = `## Save, load and migrate

Debian in 1 GiB, moved between two processes over a unix socket with a downtime limit of 100 ms, idle and while it writes 50 MB a second into a file in memory. Clear pages are left out by both.
Times are the host's, and say little on a busy one; the rates are those of CPU time. What the dirty log costs is measured in one process, the same tests in turns with and without it,
with a pass over the memory every half second of CPU time.
`;

async function migration(): Promise<void> {
  const emulators = !options['no-peer'] && has('qemu-system-x86_64') ? [nestvm, qemu] : [nestvm];
  const text = `${migrationExplanation}\n${hostLine().replace(/, \d+ runs each.*/, '.')}\n\n${await migrationTable(emulators, { ...guest(), machine: ['-M', options.machine, '-m', '1024M'] })}`;
  console.log(text);
  if (options.write) replaceSection(text);
}

/** Renews what stands before the first section, and these sections; the others stay as they were measured. */
function writeDocument(head: string, sections: readonly string[]): void {
  const path = join(root, 'docs/reference/bench.md');
  const old = existsSync(path) ? readFileSync(path, 'utf8') : '';
  const start = old.search(/^## /m);
  writeFileSync(path, `${head.trim()}\n\n${start < 0 ? '' : old.slice(start)}`);
  for (const section of sections) replaceSection(section);
}

/** Puts a section into the document, in the place of the old one or at its end. */
function replaceSection(text: string): void {
  const heading = text.slice(0, text.indexOf('\n'));
  const path = join(root, 'docs/reference/bench.md');
  const sections = readFileSync(path, 'utf8').split(/^(?=## )/m);
  const at = sections.findIndex((section) => section.startsWith(heading));
  const place = at >= 0 ? at : sections.findIndex((section) => section.startsWith('## Packages'));
  sections.splice(place >= 0 ? place : sections.length, at >= 0 ? 1 : 0, `${text.trim()}\n\n`);
  writeFileSync(path, `${sections.join('').trim()}\n`);
}

const explanation = `# Benchmarks

The same Debian kernel and initramfs boot on both emulators in turns and run the same programs (\`tools/guests/programs/nbench.c\`), whose results must be equal. CPU time is
that of the emulator's whole process, wall time is the host's; each is the best of the runs. The M instructions are those that the guest executes in a test, its kernel included, counted by QEMU.
Printed by \`pnpm bench --write\`.
`;

const interpreterExplanation = `## Without the JIT

The same list in the same run with \`-accel tcg,jit=off\`: all code by the interpreter, whose handlers are WebAssembly.
`;

const browserExplanation = `## In a browser

The list in a Worker of headless Chromium and in Node, in turns, each the best of its runs by the wall clock. Printed by \`pnpm bench --browser --write\`.
`;

const ltsExplanation = `## On the newest Node LTS

The list on both versions of Node in turns, with and without the JIT. Printed by \`pnpm bench --lts --write\`.
`;

async function lts(): Promise<void> {
  const machine = machineArguments();
  const text = `${ltsExplanation}\n${await nodeVersionsTable(root, nestvm.arguments, (emulators) => runInTurns(emulators, () => machine))}`;
  console.log(text);
  if (options.write) replaceSection(text);
}

async function browser(): Promise<void> {
  const board = options.machine as BrowserBenchOptions['board'];
  const numbers = { runs: Number(options.runs), timeoutMs: Number(options.timeout) * 1000 };
  const text = `${browserExplanation}\n${await browserTable({ ...guest(), board, commandLine: commandLine(), ...numbers })}`;
  console.log(text);
  if (options.write) replaceSection(text);
}

const deviceExplanation = `# Benchmarks of devices

The same full kernel of Debian with its virtio drivers on both emulators in turns (\`tools/guests/programs/iobench.c\`): 64 MiB in pieces of 64 KiB and 8000 blocks of 4 KiB on a raw disk,
past the guest's cache; three walks over a folder of the host with 2000 small files by 9P, and reading all of it with a large one of 16 MiB; 16 MiB each way and 4000 requests of 64 bytes over TCP, by a user network and by a socket with a user network of \`nestvm relay\` behind it.
Most of the boot is the kernel unpacking itself: it is packed with XZ, and the decoder's some 4500 million instructions are interpreted at the rate of user code; without them it is like that of the cloud kernel (LZ4).
CPU time is that of the emulator's whole process, wall time is the host's; each is the best of the runs. Printed by \`pnpm bench --devices --write\`.
`;

async function devices(): Promise<void> {
  const { kernel, initramfs } = deviceGuest(root);
  const emulators = !options['no-peer'] && has('qemu-system-x86_64') ? [nestvm, qemu] : [nestvm];
  const surroundings = await DeviceBench.open(nestvm);
  try {
    const only = options.only ? [`nestvm.bench=${options.only}`] : [];
    const words = ['console=ttyS0', 'quiet', 'cryptomgr.notests', `nestvm.scale=${options.scale}`, ...only, ...surroundings.words];
    const rest = ['-kernel', kernel, '-initrd', initramfs, '-append', words.join(' '), '-nographic', '-no-reboot'];
    const machine = (): string[] => ['-M', options.machine, '-m', '256M', ...surroundings.machine(), ...rest];
    const subjects = await runInTurns(emulators, machine);
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
    if (options.write) replaceSection(text);
    return;
  }
  await everything();
}

/** Without `--accel`, the interpreter alone runs beside the compiler of hot code, and has a section of its own. */
async function everything(): Promise<void> {
  const before = calibrate();
  const machine = machineArguments();
  const peers = !options['no-peer'] && has('qemu-system-x86_64') ? [qemu] : [];
  const interpreters = options.accel ? [] : [interpreting];
  const subjects = await runInTurns([nestvm, ...interpreters, ...peers], () => machine);
  const [first, ...rest] = subjects;
  const peer = peers.length > 0 ? rest.slice(-1) : [];
  const instructions = peers.length > 0 && !options['no-count'] ? await countInstructions(machine) : new Map<string, number>();
  const table = formatMarkdown(compare([first, ...peer], instructions));
  const sections = interpreters.length > 0 ? [`${interpreterExplanation}\n${formatMarkdown(compare([rest[0], ...peer], instructions))}`] : [];
  if (!options['no-nested']) sections.push(await nested());
  if (!options['no-micro']) sections.push(`## Packages\n\n${microBenchmarks()}`);
  const calibration = `Calibration: ${before.toFixed(0)} before and ${calibrate().toFixed(0)} after, in millions of turns of a xorshift loop in a second of CPU time.`;
  const head = `${hostLine()}\n${calibration}\n${startUpLine([nestvm, ...peers])}\n\n${table}`;
  console.log([head, ...sections].join('\n'));
  if (options.write) writeDocument(`${explanation}\n${head}`, sections);
  if (subjects[0].runs.some((run) => !run.complete)) process.exitCode = 1;
}

try {
  await main();
} catch (error) {
  if (!(error instanceof BenchError)) throw error;
  console.error(`bench: ${error.message}`);
  process.exitCode = 2;
}
