import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const ORIGIN = 0x100000;
const here = fileURLToPath(new URL('.', import.meta.url));
const programs = join(here, '../../../../tools/guests/programs');
/** As in `tools/guests/programs/build.mjs`. */
const FLAGS = ['-O2', '-march=x86-64', '-fno-tree-vectorize', '-ffp-contract=off', '-fno-pic', '-fno-tree-loop-distribute-patterns'];

/** The tests of `nbench.c` as one image for a machine without an operating system. */
export interface Guest {
  readonly origin: number;
  readonly image: Uint8Array;
  /** Addresses of the functions by name. */
  readonly symbols: ReadonlyMap<string, number>;
}

/** Compiles and links the tests with the host's gcc; null without one. */
export function buildGuest(): Guest | null {
  const scratch = mkdtempSync(join(tmpdir(), 'nestvm-hot-loops-'));
  const path = (name: string): string => join(scratch, name);
  try {
    for (const [source, object] of [
      [join(programs, 'nbench.c'), path('nbench.o')],
      [join(here, 'shim.c'), path('shim.o')],
    ] as const)
      execFileSync('gcc', [...FLAGS, '-c', source, '-o', object]);
    execFileSync('ld', [
      '-static',
      '-e',
      'malloc',
      `-Ttext=0x${ORIGIN.toString(16)}`,
      '--unresolved-symbols=ignore-all',
      '-o',
      path('guest'),
      path('nbench.o'),
      path('shim.o'),
    ]);
    execFileSync('objcopy', [
      '-O',
      'binary',
      '-R',
      '.note*',
      '-R',
      '.eh_frame',
      '--set-section-flags',
      '.bss=alloc,load,contents',
      path('guest'),
      path('image'),
    ]);
    const lines = execFileSync('nm', [path('guest')], { encoding: 'utf8' }).split('\n');
    const symbols = new Map(lines.map((line) => line.split(' ')).map(([address, , name]) => [name ?? '', Number.parseInt(address ?? '', 16)]));
    return { origin: ORIGIN, image: readFileSync(path('image')), symbols };
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
    throw error;
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
}
