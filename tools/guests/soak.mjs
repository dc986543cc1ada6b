/** What a guest builds with: Debian's tcc, and musl to build against. */
import { readdirSync, realpathSync } from 'node:fs';
import { join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { libraryFiles } from './libraries.mjs';
import { fetchPackages, withLibraries } from './packages.mjs';

/** Every file below `folder` of an unpacked package. */
const below = (tree, folder) =>
  readdirSync(join(tree, folder), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => {
      const path = join(entry.parentPath ?? entry.path, entry.name);
      return { name: relative(tree, path), path: realpathSync(path) };
    });

/** @returns `{ name, path, mode }` of the compiler, its libraries and headers, and bin/soak, which uses them. */
export function soakFiles(output, log) {
  const trees = fetchPackages(output, [...withLibraries(output, 'tcc', log), 'musl-dev'], log);
  const compiler = join(trees[0], 'usr/bin/tcc');
  const musl = trees[trees.length - 1];
  return [
    { name: 'bin/tcc', path: compiler, mode: 0o755 },
    { name: 'bin/soak', path: fileURLToPath(new URL('./soak.sh', import.meta.url)), mode: 0o755 },
    ...libraryFiles([compiler], trees),
    ...below(trees[0], 'usr/lib/x86_64-linux-gnu/tcc').filter(({ name }) => !/i386|bcheck|bt-/.test(name)),
    ...below(musl, 'usr/include/x86_64-linux-musl'),
    ...below(musl, 'usr/lib/x86_64-linux-musl').filter(({ name }) => /\/(crt[1in]\.o|libc\.a)$/.test(name)),
  ];
}
