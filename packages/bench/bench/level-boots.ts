/** The boots table of `pnpm bench --nested`: what it takes until L1, L2 and L3 say hello, with Debian's own KVM on each level, beside QEMU's SVM. */
import { formatLevelBoots, type LevelBoots, LevelBootsReader, type LevelBootsSubject } from '../src/index.js';
import { type Emulator, watch } from './emulator.js';

/** What the table is made of. */
export interface LevelBootsOptions {
  readonly emulator: Emulator;
  /** QEMU's TCG, where it is: it has SVM, and no VMX. */
  readonly peer: Emulator | undefined;
  /** Words of the kernel and the initramfs. */
  readonly files: readonly string[];
  readonly runs: number;
  readonly levels: number;
  readonly vendor: string | undefined;
  readonly timeoutMs: number;
}

const commandLine = (levels: number): string =>
  `console=ttyS0 quiet cryptomgr.notests nestvm.run=levels nestvm.levels=${levels} nestvm.memory=448,176`;

/** An emulator with one vendor's virtualization. */
export interface Candidate {
  readonly name: string;
  readonly vendor: string;
  readonly emulator: Emulator;
  readonly words: readonly string[];
}

/** Nestvm with VMX and with SVM, and the peer with SVM; or those of one vendor. */
export function candidates({ emulator, peer, vendor }: LevelBootsOptions): Candidate[] {
  const ours = ['--nested', '--levels'];
  const all: Candidate[] = [
    { name: `${emulator.name}, VMX`, vendor: 'vmx', emulator, words: [...ours, '-cpu', 'host'] },
    { name: `${emulator.name}, SVM`, vendor: 'svm', emulator, words: [...ours, '-cpu', 'host,vendor=amd'] },
  ];
  if (peer) all.push({ name: `${peer.name}, SVM`, vendor: 'svm', emulator: peer, words: ['-cpu', 'EPYC,svm=on'] });
  return all.filter((each) => vendor === undefined || each.vendor === vendor);
}

/** Boots all levels as often as `runs` says, and once each of the smaller numbers of levels for its VM entries; resolves to the table in Markdown. */
export async function levelBootsTable(options: LevelBootsOptions): Promise<string> {
  const { files, runs, levels, timeoutMs } = options;
  const subjects: LevelBootsSubject[] = [];
  for (const { name, emulator, words } of candidates(options)) {
    const done: LevelBoots[] = [];
    const entries = new Map<number, number>();
    const boot = async (depth: number): Promise<void> => {
      console.error(`${name}, boot of ${depth} levels`);
      const machine = [...words, '-M', 'pc', '-m', '896M', ...files, '-append', commandLine(depth), '-nographic', '-no-reboot'];
      const { run, tail } = await watch(emulator, machine, timeoutMs, (sample) => new LevelBootsReader(sample));
      if (!run.has(depth)) console.error(`${name}: L${depth} did not say hello. The last output:\n${tail}`);
      const counted = /(\d+) VM entries of/.exec(tail);
      if (counted) entries.set(depth, Number(counted[1]));
      done.push(run);
    };
    for (let turn = 0; turn < runs; turn++) await boot(levels);
    for (let depth = 2; depth < levels && entries.size > 0; depth++) await boot(depth);
    subjects.push({ name, runs: done, entries });
  }
  return formatLevelBoots(subjects, levels);
}
