/** `pnpm bench --lts`: the list on the newest LTS of Node beside the Node that runs this. */
import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { compare, formatMarkdown, type Subject } from '../src/index.js';
import type { Emulator } from './emulator.js';

const versionOf = (node: string): string => execFileSync(node, ['--version'], { encoding: 'utf8' }).trim().replace(/^v/, '');

/** Two tables, without and with the JIT; `program` is what either Node is given to run, `run` runs all of them in turns. */
export async function nodeVersionsTable(
  root: string,
  program: readonly string[],
  run: (emulators: readonly Emulator[]) => Promise<readonly Subject[]>,
): Promise<string> {
  const folder = execFileSync(process.execPath, [join(root, 'tools/workspace/bootstrap.mjs'), 'lts-node'], { encoding: 'utf8' }).trim();
  // The last line: before it may stand what was fetched.
  const newest = join(folder.slice(folder.lastIndexOf('\n') + 1), 'node');
  const emulators = ['off', 'on'].flatMap((jit) =>
    [newest, process.execPath].map((command) => ({
      name: `Node ${versionOf(command)}`,
      command,
      arguments: [...program, '-accel', `tcg,jit=${jit}`],
    })),
  );
  const subjects = await run(emulators);
  const table = (first: number): string => formatMarkdown(compare(subjects.slice(first, first + 2)));
  return `Interpreted:\n\n${table(0)}\nWith the JIT:\n\n${table(2)}`;
}
