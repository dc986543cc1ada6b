/** Kernel modules with everything that they depend on, in load order. */

import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';

function allModules(tree) {
  const files = execFileSync('find', [tree, '-name', '*.ko*', '-type', 'f'], { encoding: 'utf8' }).split('\n').filter(Boolean);
  return new Map(
    files.map((path) => [
      basename(path)
        .replace(/\.ko(\.xz)?$/, '')
        .replaceAll('-', '_'),
      path,
    ]),
  );
}

/** The module in a file, which newer packages compress: unpacked beside it by busybox. */
function unpacked(path, busybox) {
  if (!path.endsWith('.xz')) return path;
  const plain = path.slice(0, -'.xz'.length);
  if (!existsSync(plain)) writeFileSync(plain, execFileSync(busybox, ['xzcat', path], { maxBuffer: 1 << 28 }));
  return plain;
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
 * @param busybox for packages whose modules are compressed.
 * @returns `{ name, path }` of each module, dependencies first.
 */
export function moduleFiles(tree, names, busybox = 'busybox') {
  if (names.length === 0) return [];
  const known = allModules(join(tree, 'kernel'));
  const result = new Map();
  const add = (name) => {
    const key = name.replaceAll('-', '_');
    if (result.has(key)) return;
    const packed = known.get(key);
    if (!packed) throw new Error(`The kernel package has no module ${name} (it may be built in); leave it out.`);
    const path = unpacked(packed, busybox);
    dependencies(path).forEach(add);
    result.set(key, { name: `${key}.ko`, path });
  };
  names.forEach(add);
  return [...result.values()];
}
