/** Kernel modules with everything that they depend on, in load order. */

import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { basename, join } from 'node:path';

function allModules(tree) {
  const files = execFileSync('find', [tree, '-name', '*.ko', '-type', 'f'], { encoding: 'utf8' }).split('\n').filter(Boolean);
  return new Map(files.map((path) => [basename(path, '.ko').replaceAll('-', '_'), path]));
}

/** The `depends=` of a module's .modinfo section. */
function dependencies(path) {
  const match = readFileSync(path)
    .toString('latin1')
    .match(/\0depends=([^\0]*)\0/);
  return match && match[1] ? match[1].split(',') : [];
}

/**
 * @param tree the directory lib/modules/VERSION of an unpacked kernel package (its modules.dep is made at installation, so it is not there).
 * @returns `{ name, path }` of each module, dependencies first.
 */
export function moduleFiles(tree, names) {
  if (names.length === 0) return [];
  const known = allModules(join(tree, 'kernel'));
  const result = new Map();
  const add = (name) => {
    const key = name.replaceAll('-', '_');
    if (result.has(key)) return;
    const path = known.get(key);
    if (!path) throw new Error(`The kernel package has no module ${name} (it may be built in); leave it out.`);
    dependencies(path).forEach(add);
    result.set(key, { name: `${key}.ko`, path });
  };
  names.forEach(add);
  return [...result.values()];
}
