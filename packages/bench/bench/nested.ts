/** The nested table of `pnpm bench`: the same list in L1, in L2 and in L3, in one boot on each vendor, by Debian's own KVM; and what exits take. */
import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { BenchError, formatLevels, type LevelRuns, LevelsReader, type NestedSubject } from '../src/index.js';
import { type Emulator, watch } from './emulator.js';
import { levelBootsTable } from './level-boots.js';
import { userCodeTable } from './user-code.js';
import { warmExitsTable } from './warm-exits.js';

/** What the table is made of. */
export interface NestedBenchOptions {
  readonly root: string;
  readonly emulator: Emulator;
  /** The same without its JIT, for the list. */
  readonly interpreter: Emulator;
  /** QEMU's TCG for the boots, where it is. */
  readonly peer: Emulator | undefined;
  readonly runs: number;
  readonly scale: string;
  /** Tests with commas between, or undefined for all. */
  readonly only: string | undefined;
  readonly levels: number;
  /** Only this vendor (`vmx` or `svm`), or both. */
  readonly vendor: string | undefined;
  readonly timeoutMs: number;
}

const VENDORS = [
  { name: 'VMX', cpu: 'host' },
  { name: 'SVM', cpu: 'host,vendor=amd' },
];
/** Guest time by instructions, so that all levels serve as many timer ticks for the same work, however busy the host is. */
const COUNTED = ['-icount', 'shift=0,sleep=off'];
/** How much shorter the list is here: three levels run it interpreted. */
const DIVISOR = 16;
/** How often each level runs the list: the best of a test counts. */
const REPETITIONS = 2;
/** Exits of each kind that a level times. */
const EXITS = 5000;

const USER_CODE = `User code alone: what an instruction takes in the median slice of 200,000 in which nothing but that level ran (for the chase, half of which is making the ring, in all such slices), and the share of the test's instructions that were in such slices;
the others have a VM entry in them, mostly a timer's tick. The TLB holds combined translations, so that a level costs user code nothing.
`;
const WHOLE = `The whole list, with what hypervisors do meanwhile:
`;
const BOOTS = `The same boot without the list, with the JIT, on the host's clock: CPU time of the whole process until each level says hello, and the VM entries from start to end.
`;

interface GuestFiles {
  readonly kernel: string;
  readonly initramfs: string;
}

function guest(root: string): GuestFiles {
  execFileSync(process.execPath, [join(root, 'tools/guests/build.mjs')], { stdio: ['ignore', 'ignore', 'inherit'] });
  const [kernel, initramfs] = ['vmlinuz', 'nested.cpio'].map((name) => join(root, 'build/guests', name));
  for (const path of [kernel!, initramfs!]) if (!existsSync(path)) throw new BenchError('no-guest', `${path} was not built; run \`pnpm guests\`.`);
  return { kernel: kernel!, initramfs: initramfs! };
}

function commandLine({ scale, only, levels }: NestedBenchOptions): string {
  const words = [
    'console=ttyS0',
    'quiet',
    'cryptomgr.notests',
    'nestvm.run=levels',
    `nestvm.levels=${levels}`,
    'nestvm.each=bench-all',
    'nestvm.memory=448,176',
  ];
  // The list by name, since "all" leaves `nothing` out, which says what the lines of a test cost.
  const list = Array.from({ length: REPETITIONS }, () => `nothing,${only ?? 'all'}`).join(',');
  return [...words, `nestvm.exits=${EXITS}`, `nestvm.scale=${Number(scale) * DIVISOR}`, `nestvm.bench=${list}`].join(' ');
}

/** Runs the list on every level of both vendors; resolves to the table in Markdown. */
export async function nestedTable(options: NestedBenchOptions): Promise<string> {
  const { interpreter, runs, timeoutMs, levels, vendor } = options;
  const own = guest(options.root);
  const files = ['-kernel', own.kernel, '-initrd', own.initramfs];
  const vendors = VENDORS.filter((each) => vendor === undefined || each.name.toLowerCase() === vendor);
  const userCode = await userCodeTable({ ...own, runs, levels, vendors, scale: Number(options.scale) * DIVISOR });
  const subjects: NestedSubject[] = [];
  const entries: string[] = [];
  for (const { name, cpu } of vendors) {
    const machine = [
      '--nested',
      '--levels',
      '-M',
      'pc',
      '-cpu',
      cpu,
      '-m',
      '896M',
      ...COUNTED,
      ...files,
      '-append',
      commandLine(options),
      '-nographic',
      '-no-reboot',
    ];
    const done: LevelRuns[] = [];
    let counted = '–';
    for (let turn = 0; turn < runs; turn++) {
      console.error(`${name}, ${levels} levels, run ${turn + 1} of ${runs}`);
      const { run, tail } = await watch(interpreter, machine, timeoutMs, (sample) => new LevelsReader(sample));
      if (run.get(levels)?.complete !== true) console.error(`L${levels} did not come to the end of its list. The last output:\n${tail}`);
      done.push(run);
      counted = /(\d+) VM entries of/.exec(tail)?.[1] ?? counted;
    }
    subjects.push({ name, runs: done });
    entries.push(`${name} ${counted}`);
  }
  const exits = await warmExitsTable({ ...options, files });
  const boots = await levelBootsTable({ ...options, files });
  return `${USER_CODE}\n${userCode}\n${WHOLE}\n${formatLevels(subjects)}\nVM entries in a whole run of ${levels} levels, the list and the timed exits included: ${entries.join(', ')}.\n\n${exits}\n${BOOTS}\n${boots}`;
}
