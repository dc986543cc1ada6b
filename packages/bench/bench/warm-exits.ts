/** The table of exits of `pnpm bench --nested`: what an exit of L2 to Debian's KVM and back takes once all of it is warm, beside QEMU's SVM. */
import { formatExits, LevelsReader, type NestedSubject } from '../src/index.js';
import { watch } from './emulator.js';
import { candidates, type LevelBootsOptions } from './level-boots.js';

/** Exits of each kind: what is compiled after some ten thousand of them is to count little. */
const EXITS = 100_000;

const COMMAND_LINE = `console=ttyS0 quiet cryptomgr.notests nestvm.run=levels nestvm.levels=2 nestvm.exits=${EXITS}`;

/** Times exits of L2 on each emulator, with its JIT, on the host's clock; resolves to the table in Markdown. */
export async function warmExitsTable(options: LevelBootsOptions): Promise<string> {
  const { files, runs, timeoutMs } = options;
  const subjects: NestedSubject[] = [];
  for (const { name, emulator, words } of candidates(options)) {
    const done: NestedSubject['runs'][number][] = [];
    const machine = [...words, '-M', 'pc', '-m', '896M', ...files, '-append', COMMAND_LINE, '-nographic', '-no-reboot'];
    for (let turn = 0; turn < runs; turn++) {
      console.error(`${name}, ${EXITS} exits of each kind`);
      const { run, tail } = await watch(emulator, machine, timeoutMs, (sample) => new LevelsReader(sample));
      if ((run.get(1)?.tests.size ?? 0) === 0) console.error(`${name}: no exits were timed. The last output:\n${tail}`);
      done.push(run);
    }
    subjects.push({ name, runs: done });
  }
  return `${EXITS} exits of each kind of L2 to Debian's KVM and back, with the JIT, on the host's clock:\n\n${formatExits(subjects)}`;
}
