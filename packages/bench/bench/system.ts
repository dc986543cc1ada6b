/**
 * `pnpm bench`: the same kernel and initramfs on Nestvm and, where it is installed, on QEMU's TCG, in turns.
 *
 * --runs N      boots per emulator (3); the best of them counts
 * --scale N     divides the work of every test (1)
 * --only a,b    only these tests
 * --machine M   QEMU's name of the machine (pc)
 * --timeout S   seconds that one boot may take (900)
 * --no-peer     without QEMU
 * --no-count    without the extra run that counts instructions (QEMU, -icount)
 * --no-micro    without the packages' own benchmarks
 * --write       also writes docs/reference/bench.md
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { BenchError, compare, formatMarkdown, type Run, type Subject } from '../src/index.js';
import { type Emulator, watch } from './emulator.js';

const root = fileURLToPath(new URL('../../../', import.meta.url));

const { values: options } = parseArgs({
  options: {
    runs: { type: 'string', default: '3' },
    scale: { type: 'string', default: '1' },
    only: { type: 'string' },
    machine: { type: 'string', default: 'pc' },
    timeout: { type: 'string', default: '900' },
    'no-peer': { type: 'boolean' },
    'no-count': { type: 'boolean' },
    'no-micro': { type: 'boolean' },
    write: { type: 'boolean' },
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

function machineArguments(): string[] {
  const { kernel, initramfs } = guest();
  const words = ['console=ttyS0', 'quiet', 'cryptomgr.notests', 'nestvm.run=bench', `nestvm.scale=${options.scale}`];
  if (options.only) words.push(`nestvm.bench=${options.only}`);
  return ['-M', options.machine, '-m', '512M', '-kernel', kernel, '-initrd', initramfs, '-append', words.join(' '), '-nographic', '-no-reboot'];
}

const nestvm: Emulator = { name: 'Nestvm', command: process.execPath, arguments: [join(root, 'tools/workspace/nestvm.mjs')] };
const qemu: Emulator = { name: 'QEMU TCG', command: 'qemu-system-x86_64', arguments: ['-accel', 'tcg'] };
const counting: Emulator = { ...qemu, arguments: ['-accel', 'tcg', '-icount', 'shift=0,sleep=off'] };

const has = (command: string): boolean => spawnSync(command, ['--version'], { stdio: 'ignore' }).status === 0;

async function runInTurns(emulators: readonly Emulator[], machine: readonly string[]): Promise<Subject[]> {
  const timeoutMs = Number(options.timeout) * 1000;
  const collected = emulators.map(() => ({ runs: [] as Run[], peakBytes: 0 }));
  for (let turn = 0; turn < Number(options.runs); turn++) {
    for (const [i, emulator] of emulators.entries()) {
      console.error(`${emulator.name}, run ${turn + 1} of ${options.runs}`);
      const { run, peakBytes, tail } = await watch(emulator, machine, timeoutMs);
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
  const { run } = await watch(counting, machine, Number(options.timeout) * 1000);
  return new Map([...run.tests].map(([name, { guestSeconds }]) => [name, guestSeconds * 1e9]));
}

/** Every `packages/X/bench/*.bench.ts` is a script that prints its own results. */
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
      console.error(file.slice(root.length));
      const { stdout, stderr, status } = spawnSync('pnpm', ['exec', 'tsx', '--conditions=@nestvm/source', file], { cwd: root, encoding: 'utf8' });
      return `### ${file.slice(root.length)}\n\n\`\`\`\n${(status === 0 ? stdout : `failed:\n${stderr}`).trim()}\n\`\`\`\n`;
    })
    .join('\n');
}

function hostLine(): string {
  const model = existsSync('/proc/cpuinfo') ? /model name\s*: (.*)/.exec(readFileSync('/proc/cpuinfo', 'utf8'))?.[1] : undefined;
  const peer = has('qemu-system-x86_64') ? execFileSync('qemu-system-x86_64', ['--version'], { encoding: 'utf8' }).split('\n')[0] : 'no QEMU';
  return `Node ${process.versions.node}, ${peer}, ${model ?? 'unknown CPU'}, machine \`${options.machine}\`, ${options.runs} runs each, work divided by ${options.scale}.`;
}

const explanation = `# Benchmarks

The same Debian kernel and initramfs boot on both emulators in turns and run the same programs (\`tools/guests/programs/nbench.c\`), whose results must be equal. CPU time is
that of the emulator's whole process, wall time is the host's; each is the best of the runs. The M instructions are those that the guest executes in a test, its kernel included, counted by QEMU.
Printed by \`pnpm bench --write\`.
`;

async function main(): Promise<void> {
  const machine = machineArguments();
  const peer = !options['no-peer'] && has('qemu-system-x86_64');
  const subjects = await runInTurns(peer ? [nestvm, qemu] : [nestvm], machine);
  const instructions = peer && !options['no-count'] ? await countInstructions(machine) : new Map<string, number>();
  const table = formatMarkdown(compare(subjects, instructions));
  const micro = options['no-micro'] ? '' : microBenchmarks();
  const text = `${hostLine()}\n\n${table}${micro ? `\n## Packages\n\n${micro}` : ''}`;
  console.log(text);
  if (options.write) writeFileSync(join(root, 'docs/reference/bench.md'), `${explanation}\n${text}`);
  if (subjects[0].runs.some((run) => !run.complete)) process.exitCode = 1;
}

await main();
