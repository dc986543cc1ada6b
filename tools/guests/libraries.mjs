/** Shared libraries of programs in unpacked Debian packages, as files of an initramfs. */
import { execFileSync } from 'node:child_process';
import { existsSync, lstatSync, realpathSync } from 'node:fs';
import { basename, join } from 'node:path';

const libraryFolders = ['lib/x86_64-linux-gnu', 'usr/lib/x86_64-linux-gnu', 'lib64'];

/** The first file among `paths` in the directories `trees`: `{ tree, file }`, or undefined. */
export function findIn(trees, paths) {
  for (const tree of trees) {
    for (const path of paths) {
      const file = join(tree, path);
      if (existsSync(file) && lstatSync(realpathSync(file)).isFile()) return { tree, file };
    }
  }
  return undefined;
}

function needed(file) {
  const text = execFileSync('readelf', ['-d', file], { encoding: 'utf8' });
  return [...text.matchAll(/\(NEEDED\).*\[(.+)\]/g)].map((match) => match[1]);
}

/** By what the dynamic sections name, all levels. */
function closure(programs, trees) {
  const found = new Map();
  const visit = (file) => {
    for (const name of needed(file)) {
      if (found.has(name)) continue;
      const place = findIn(
        trees,
        libraryFolders.map((folder) => join(folder, name)),
      );
      if (!place) throw new Error(`No Debian package here has ${name}, which ${basename(file)} needs.`);
      found.set(name, realpathSync(place.file));
      visit(place.file);
    }
  };
  programs.forEach(visit);
  return found;
}

/** @returns `{ name, path, mode }` of the libraries that `programs` need, and of the loader. */
export function libraryFiles(programs, trees) {
  const files = [...closure(programs, trees)].map(([name, path]) => ({ name: `lib/x86_64-linux-gnu/${name}`, path }));
  const loader = findIn(trees, ['lib64/ld-linux-x86-64.so.2', 'lib/x86_64-linux-gnu/ld-linux-x86-64.so.2']);
  if (!loader) throw new Error('The package libc6 has no ld-linux-x86-64.so.2 where it was expected.');
  files.push({ name: 'lib64/ld-linux-x86-64.so.2', path: realpathSync(loader.file), mode: 0o755 });
  return files;
}
