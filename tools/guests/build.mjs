#!/usr/bin/env node
/**
 * Builds the guests that the tests, the demo and the benchmarks boot: the kernel of Debian's cloud package as it is, and an initramfs of
 * our own with Debian's static busybox. Outputs go to build/guests; the packages are cached there by checksum.
 *
 * Usage: pnpm guests [options]; `pnpm guests --help` lists them.
 */
import { execFileSync } from 'node:child_process';
import { copyFileSync, existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { buildCet } from './cet.mjs';
import { CpioArchive } from './cpio.mjs';
import { emulatorFiles } from './emulator.mjs';
import { fileSystemFiles } from './filesystem.mjs';
import { buildFull } from './full.mjs';
import { moduleFiles } from './modules.mjs';
import { fetchPackages } from './packages.mjs';
import { buildPrograms } from './programs/build.mjs';
import { soakFiles } from './soak.mjs';
import { buildXen } from './xen.mjs';

const here = dirname(fileURLToPath(import.meta.url));
export const defaultOutput = resolve(here, '../../build/guests');

/** Drivers in virtio.cpio, whose `disks` program loads them. */
const VIRTIO_MODULES =
  'virtio_pci virtio_mmio virtio_blk virtio_net virtio-rng virtio_console virtio_balloon vmw_vsock_virtio_transport virtio_scsi sd_mod sr_mod isofs'.split(
    ' ',
  );

function busyboxApplets(busybox) {
  try {
    return execFileSync(busybox, ['--list'], { encoding: 'utf8' })
      .split('\n')
      .filter((name) => name && name !== 'busybox');
  } catch {
    throw new Error(`${busybox} does not run on this machine, so its list of commands is unknown; build the guests on Linux on x86-64.`);
  }
}

/** The initramfs as bytes: busybox, device nodes, /init, our programs and kernel modules (in the order in which they must be loaded). */
export function buildInitramfs({ busybox, programs, modules = [], guest, files = [] }) {
  const archive = new CpioArchive();
  for (const path of ['bin', 'dev', 'etc', 'proc', 'root', 'sys', 'tmp']) archive.directory(path);
  archive.character('dev/console', 5, 1).character('dev/null', 1, 3, 0o666).character('dev/ttyS0', 4, 64);
  archive.file('init', readFileSync(join(here, 'init.sh')), 0o755);
  archive.file('bin/bench-all', readFileSync(join(here, 'bench-all.sh')), 0o755);
  archive.file('etc/passwd', 'root::0:0:root:/root:/bin/sh\n').file('etc/group', 'root:x:0:\n');
  archive.file('etc/profile', "PS1='nestvm# '\n");
  archive.file('bin/busybox', readFileSync(busybox), 0o755);
  for (const applet of busyboxApplets(busybox)) archive.symlink(`bin/${applet}`, 'busybox');
  for (const { name, path } of programs) archive.file(`bin/${name}`, readFileSync(path), 0o755);
  archive.file('bin/levels', readFileSync(join(here, 'levels.sh')), 0o755);
  archive.file('bin/disks', readFileSync(join(here, 'disks.sh')), 0o755);
  archive.file('bin/crash', readFileSync(join(here, 'crash.sh')), 0o755);
  archive.file('bin/bench-devices', readFileSync(join(here, 'bench-devices.sh')), 0o755);
  archive.file('bin/net', readFileSync(join(here, 'net.sh')), 0o755);
  for (const { name, path } of modules) archive.file(`lib/modules/${name}`, readFileSync(path));
  if (modules.length > 0) archive.file('lib/modules/order', `${modules.map(({ name }) => name).join('\n')}\n`);
  for (const { name, path, mode = 0o644 } of files) archive.file(name, readFileSync(path), mode);
  if (guest) archive.file('guest/vmlinuz', readFileSync(guest.kernel)).file('guest/initrd.cpio', guest.initramfs);
  return archive.finish();
}

/** The initramfs of a machine that can start `depth - 1` levels below itself: each holds KVM's modules and the kernel and initramfs of the next. */
function buildLevels({ kernel, modules, files, depth, ...parts }) {
  let initramfs = buildInitramfs(parts);
  for (let level = depth - 1; level > 0; level--) initramfs = buildInitramfs({ ...parts, modules, files, guest: { kernel, initramfs } });
  return initramfs;
}

/**
 * Fetches, unpacks and builds everything.
 * @returns paths: `kernel` (a bzImage), `initramfs` (an uncompressed cpio archive), `nested` (an initramfs that starts levels below itself); `version` of the kernel; `hasPrograms` tells whether the C benchmark programs are in it.
 */
export function buildGuests({
  output = defaultOutput,
  kernelPackage = 'linux-image-cloud-amd64',
  modules = [],
  qemu = false,
  qemuL3 = false,
  xen = false,
  virtio = false,
  full = false,
  cet = false,
  l2Network = false,
  soak = false,
  log = (/** @type {string} */ _line) => {},
} = {}) {
  mkdirSync(output, { recursive: true });
  const [kernelTree, busyboxTree] = fetchPackages(output, [kernelPackage, 'busybox-static'], log);
  const kernelName = readdirSync(join(kernelTree, 'boot')).find((name) => name.startsWith('vmlinuz-'));
  const version = kernelName.slice('vmlinuz-'.length);
  const kernel = join(output, 'vmlinuz');
  copyFileSync(join(kernelTree, 'boot', kernelName), kernel);
  const busybox = ['bin/busybox', 'usr/bin/busybox'].map((path) => join(busyboxTree, path)).find((path) => existsSync(path));
  const programs = buildPrograms(join(output, 'programs'), log);
  const initramfs = join(output, 'initrd.cpio');
  writeFileSync(initramfs, buildInitramfs({ busybox, programs, modules: moduleFiles(join(kernelTree, 'lib/modules', version), modules) }));
  if (virtio) {
    const drivers = moduleFiles(join(kernelTree, 'lib/modules', version), VIRTIO_MODULES);
    writeFileSync(join(output, 'virtio.cpio'), buildInitramfs({ busybox, programs, modules: drivers, files: fileSystemFiles(output, log) }));
  }
  if (full) buildFull(output, (drivers) => buildInitramfs({ busybox, programs, modules: drivers }), log);
  if (cet) {
    const level = { busybox, programs, depth: 2 };
    buildCet(output, busybox, (kvm, newer) => buildLevels({ ...level, kernel: newer, modules: kvm }), log);
  }
  const nested = join(output, 'nested.cpio');
  const kvm = moduleFiles(join(kernelTree, 'lib/modules', version), ['kvm-intel', 'kvm-amd']);
  const levels = { kernel, busybox, programs, modules: kvm };
  writeFileSync(nested, buildLevels({ ...levels, depth: 3 }));
  if (qemu) writeFileSync(join(output, 'nested-qemu.cpio'), buildLevels({ ...levels, files: emulatorFiles(output, log), depth: 2 }));
  if (qemuL3) writeFileSync(join(output, 'nested-qemu-l3.cpio'), buildLevels({ ...levels, files: emulatorFiles(output, log), depth: 3 }));
  if (l2Network) {
    const drivers = moduleFiles(join(kernelTree, 'lib/modules', version), ['kvm-intel', 'kvm-amd', 'virtio-pci', 'virtio-net']);
    writeFileSync(join(output, 'nested-net.cpio'), buildLevels({ ...levels, modules: drivers, files: emulatorFiles(output, log), depth: 2 }));
  }
  if (soak) {
    const files = soakFiles(output, log);
    const guest = { kernel, initramfs: buildInitramfs({ busybox, programs, files }) };
    writeFileSync(join(output, 'soak.cpio'), buildInitramfs({ busybox, programs, modules: kvm, files, guest }));
  }
  if (xen) {
    const guest = { kernel, initramfs: readFileSync(initramfs) };
    buildXen(output, (parts) => buildInitramfs({ busybox, programs, guest, ...parts }), log);
  }
  return { kernel, initramfs, nested, version, hasPrograms: programs.length > 0 };
}

const known = {
  out: { type: 'string' },
  kernel: { type: 'string' },
  modules: { type: 'string' },
  qemu: { type: 'boolean' },
  'qemu-l3': { type: 'boolean' },
  xen: { type: 'boolean' },
  virtio: { type: 'boolean' },
  full: { type: 'boolean' },
  cet: { type: 'boolean' },
  soak: { type: 'boolean' },
  help: { type: 'boolean' },
};

const help = `pnpm guests [options]: the guests that tests, demo and benchmarks boot, made from Debian's packages

--out DIRECTORY   where they go (build/guests)
--kernel PACKAGE  Debian's package of the kernel
--modules a,b     more modules of it in the initramfs
--qemu            also nested-qemu.cpio, in which Debian's QEMU starts the levels (some 90 packages)
--qemu-l3         also nested-qemu-l3.cpio, the same with a QEMU in L2 as well
--virtio          also virtio.cpio, with the drivers of virtio devices and Debian's mkfs.ext4 (run it with nestvm.run=disks)
--full            also vmlinuz-full and full.cpio: Debian's full kernel, with drivers for 9P, input and graphics
--cet             also vmlinuz-cet and nested-cet.cpio: a kernel of Debian that uses indirect-branch tracking, and shadow stacks for programs
--soak            also soak.cpio, whose two levels build and compress files with Debian's tcc
--xen             also xen, vmlinuz-dom0 and xen.cpio: Debian's Xen, a dom0 and in it a guest
--help            this text`;

/** What was asked for; ends the process where that makes no sense. */
function askedFor() {
  try {
    // pnpm hands over a `--` of its own.
    const { values } = parseArgs({ options: known, args: process.argv.slice(2).filter((argument) => argument !== '--') });
    if (!values.help) return values;
    console.log(help);
    process.exit(0);
  } catch (error) {
    console.error(`guests: ${error.message.split('. ')[0]}; --help lists the options`);
    process.exit(2);
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const values = askedFor();
  const options = {
    output: resolve(values.out ?? defaultOutput),
    modules: values.modules?.split(',') ?? [],
    qemu: values.qemu ?? false,
    qemuL3: values['qemu-l3'] ?? false,
    xen: values.xen ?? false,
    virtio: values.virtio ?? false,
    full: values.full ?? false,
    cet: values.cet ?? false,
    soak: values.soak ?? false,
    log: (line) => console.log(line),
  };
  if (values.kernel) options.kernelPackage = values.kernel;
  const guests = buildGuests(options);
  console.log(
    `kernel     ${guests.kernel} (${guests.version})\ninitramfs  ${guests.initramfs}\nnested     ${guests.nested} (the same with KVM and two levels below; run it with nestvm.run=levels)`,
  );
}
