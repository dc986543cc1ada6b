/** Compiles the C programs of the guest with the host's gcc, statically; without a compiler the guest is built without them. */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, statSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const here = dirname(fileURLToPath(import.meta.url));
/** Tuned for the baseline of x86-64, so that one binary runs on every CPU model. */
const flags = ['-O2', '-static', '-march=x86-64', '-fno-tree-vectorize', '-ffp-contract=off', '-Wall', '-Wextra', '-s'];

function newer(source, target) {
  return !existsSync(target) || statSync(source).mtimeMs > statSync(target).mtimeMs;
}

/** @returns `{ name, path }` of every program; empty when there is no gcc. */
export function buildPrograms(output, log) {
  mkdirSync(output, { recursive: true });
  try {
    execFileSync('gcc', ['--version'], { stdio: 'ignore' });
  } catch {
    log('There is no gcc here: the guest is built without the benchmark programs.');
    return [];
  }
  const files = readdirSync(here);
  const headers = files.filter((file) => file.endsWith('.h')).map((file) => join(here, file));
  return files
    .filter((file) => file.endsWith('.c'))
    .map((file) => {
      const name = basename(file, '.c');
      const path = join(output, name);
      if ([join(here, file), ...headers].some((source) => newer(source, path)))
        execFileSync('gcc', [...flags, '-o', path, join(here, file), '-lm', '-lpthread'], { stdio: ['ignore', 'inherit', 'inherit'] });
      return { name, path };
    });
}
