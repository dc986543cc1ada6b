/** Debian's own QEMU with its libraries and firmware, as files of an initramfs: the VMM that people run in an L1. */
import { realpathSync } from 'node:fs';
import { basename, join } from 'node:path';
import { findIn, libraryFiles } from './libraries.mjs';
import { fetchPackages, withLibraries } from './packages.mjs';

/** What QEMU reads at run time for `-M pc`, `q35` and `microvm` with `-kernel`. */
const firmware = ['qemu/linuxboot_dma.bin', 'qemu/pvh.bin', 'qemu/kvmvapic.bin', 'qemu/bios-microvm.bin', 'qemu/qboot.rom', 'seabios/bios-256k.bin'];

/** @returns `{ name, path, mode }` of every file that the initramfs needs for `qemu-system-x86_64`. */
export function emulatorFiles(output, log) {
  const packages = [...withLibraries(output, 'qemu-system-x86', log), 'qemu-system-data', 'seabios'];
  const present = fetchPackages(output, packages, log);
  const program = join(present[0], 'usr/bin/qemu-system-x86_64');
  const files = [{ name: 'bin/qemu-system-x86_64', path: program, mode: 0o755 }, ...libraryFiles([program], present)];
  for (const name of firmware) {
    const place = findIn(present, [join('usr/share', name), join('usr/share/qemu', basename(name)), join('usr/share/seabios', basename(name))]);
    if (place) files.push({ name: `usr/share/qemu/${basename(name)}`, path: realpathSync(place.file) });
  }
  return files;
}
