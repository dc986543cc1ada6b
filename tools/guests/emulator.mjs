/** Debian's own QEMU with its libraries and firmware, as files of an initramfs: the VMM that people run in an L1. */
import { execFileSync } from 'node:child_process';
import { existsSync, lstatSync, realpathSync } from 'node:fs';
import { basename, join } from 'node:path';
import { fetchPackages, withLibraries } from './packages.mjs';

/** What QEMU reads at run time for `-M pc`, `q35` and `microvm` with `-kernel`. */
const firmware = ['qemu/linuxboot_dma.bin', 'qemu/pvh.bin', 'qemu/kvmvapic.bin', 'qemu/bios-microvm.bin', 'qemu/qboot.rom', 'seabios/bios-256k.bin'];
const libraryFolders = ['lib/x86_64-linux-gnu', 'usr/lib/x86_64-linux-gnu', 'lib64'];

function findIn(trees, paths) {
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

/** The shared libraries of `program`, by what its dynamic section names, all levels. */
function libraries(program, trees) {
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
  visit(program);
  return found;
}

/** @returns `{ name, path, mode }` of every file that the initramfs needs for `qemu-system-x86_64`. */
export function emulatorFiles(output, log) {
  const packages = [...withLibraries(output, 'qemu-system-x86', log), 'qemu-system-data', 'seabios'];
  const present = fetchPackages(output, packages, log);
  const program = join(present[0], 'usr/bin/qemu-system-x86_64');
  const files = [{ name: 'bin/qemu-system-x86_64', path: program, mode: 0o755 }];
  for (const [name, path] of libraries(program, present)) files.push({ name: `lib/x86_64-linux-gnu/${name}`, path });
  const loader = findIn(present, ['lib64/ld-linux-x86-64.so.2', 'lib/x86_64-linux-gnu/ld-linux-x86-64.so.2']);
  if (!loader) throw new Error('The package libc6 has no ld-linux-x86-64.so.2 where it was expected.');
  files.push({ name: 'lib64/ld-linux-x86-64.so.2', path: realpathSync(loader.file), mode: 0o755 });
  for (const name of firmware) {
    const place = findIn(present, [join('usr/share', name), join('usr/share/qemu', basename(name)), join('usr/share/seabios', basename(name))]);
    if (place) files.push({ name: `usr/share/qemu/${basename(name)}`, path: realpathSync(place.file) });
  }
  return files;
}
