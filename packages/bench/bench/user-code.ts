/** The table of user code of `pnpm bench --nested`: what an instruction takes in L1, L2 and L3 of one boot while nothing but that level runs. */
import { readFileSync } from 'node:fs';
import { createEventLoopHost, createMachine } from '@nestvm/machine';
import { formatSlices, SliceMeter, type SliceSubject } from '../src/index.js';

/** What the table is made of. */
export interface UserCodeOptions {
  readonly kernel: string;
  readonly initramfs: string;
  readonly runs: number;
  readonly levels: number;
  readonly scale: number;
  readonly vendors: readonly { readonly name: string; readonly cpu: string }[];
}

/** The pointer chase in full: else it is mostly the making of what is chased. */
const TESTS = 'integer,branches,muldiv64,sse-double,sse-integer,x87,calls,indirect,sha256,-s,1,chase';
/** Instructions of a slice: twenty of them are a timer's tick. */
const SLICE = 200_000;

const wordsOf = ({ levels, scale }: UserCodeOptions): string =>
  `console=ttyS0 quiet cryptomgr.notests nestvm.run=levels nestvm.levels=${levels} nestvm.each=bench-all nestvm.memory=448,176 nestvm.scale=${scale} nestvm.bench=${TESTS}`;

/** Runs all levels in this process, in slices that are timed one by one. */
async function measure(cpu: string, options: UserCodeOptions): Promise<SliceMeter> {
  const meter = new SliceMeter();
  const machine = createMachine({
    board: 'pc',
    cpu,
    nested: true,
    memoryBytes: 896 << 20,
    kernel: { name: 'vmlinuz', bytes: readFileSync(options.kernel) },
    modules: [{ name: 'nested.cpio', bytes: readFileSync(options.initramfs) }],
    commandLine: wordsOf(options),
    serial: [{ write: (byte) => byte !== 13 && meter.push(String.fromCharCode(byte)) }],
    // By instructions, so that all levels serve as many timer ticks for the same work.
    clock: { kind: 'virtual', shift: 0, sleep: false },
    host: createEventLoopHost(globalThis),
    reboot: false,
    jit: false,
  });
  const [executor, vcpu] = [machine.executors[0], machine.cpus[0]];
  const run = executor.run.bind(executor);
  const entries = (): number => vcpu.virtualization?.counters.entries ?? 0;
  const isGuest = (): boolean => vcpu.get32('guestMode') !== 0;
  executor.run = (budget) => {
    const before = { entries: entries(), isGuest: isGuest(), retired: executor.retired };
    const startNs = process.hrtime.bigint();
    const stop = run(Math.min(budget, SLICE));
    const ns = Number(process.hrtime.bigint() - startNs);
    const instructions = executor.retired - before.retired;
    const stays = entries() === before.entries && isGuest() === before.isGuest && before.isGuest === meter.level > 1;
    meter.note({ ns, instructions, isWhole: stays && instructions > SLICE / 2 });
    return stop;
  };
  await machine.run();
  return meter;
}

/** Measures each vendor; resolves to the table in Markdown. */
export async function userCodeTable(options: UserCodeOptions): Promise<string> {
  const subjects: SliceSubject[] = [];
  for (const { name, cpu } of options.vendors) {
    const runs: SliceMeter[] = [];
    for (let turn = 0; turn < options.runs; turn++) {
      console.error(`${name}, user code in ${options.levels} levels, run ${turn + 1} of ${options.runs}`);
      runs.push(await measure(cpu, options));
    }
    subjects.push({ name, runs });
  }
  return formatSlices(subjects);
}
