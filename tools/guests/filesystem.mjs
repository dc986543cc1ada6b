/** Debian's programs that make and check ext4, with their libraries, as files of an initramfs. */
import { join } from 'node:path';
import { findIn, libraryFiles } from './libraries.mjs';
import { fetchPackages, withLibraries } from './packages.mjs';

/** @returns `{ name, path, mode }` of `mkfs.ext4`, `fsck.ext4` and what they need. */
export function fileSystemFiles(output, log) {
  const present = fetchPackages(output, withLibraries(output, 'e2fsprogs', log), log);
  const programs = ['mke2fs', 'e2fsck'].map((name) => findIn(present, [join('sbin', name), join('usr/sbin', name)])?.file);
  const files = programs.map((path, i) => ({ name: ['bin/mkfs.ext4', 'bin/fsck.ext4'][i], path, mode: 0o755 }));
  const config = findIn(present, ['etc/mke2fs.conf']);
  return [...files, { name: 'etc/mke2fs.conf', path: config.file }, ...libraryFiles(programs, present)];
}
