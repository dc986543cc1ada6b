/**
 * A disk and a CD that firmware starts: GRUB in the master boot record (El Torito on the CD) and on an EFI system partition, Debian's full kernel, an initramfs with the drivers of every
 * disk that the emulator has, and on the disk an ext4 root file system with a login on the serial port. All from Debian packages, without privileges.
 */
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  closeSync,
  copyFileSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  symlinkSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { CpioArchive } from './cpio.mjs';
import { findIn } from './libraries.mjs';
import { moduleFiles } from './modules.mjs';
import { fetchPackages, withLibraries } from './packages.mjs';

const here = dirname(fileURLToPath(import.meta.url));
const SECTOR = 512;
const FIRST_SECTOR = 2048;
const ROOT_MEBIBYTES = 96;
const LABEL = 'nestvm-root';
/** Drivers of disks and CDs, and of their file systems where they are not built in. */
const DRIVERS = ['virtio_pci', 'virtio_blk', 'virtio_scsi', 'ata_piix', 'ata_generic', 'ahci', 'sd_mod', 'sr_mod', 'crc32c_generic', 'ext4', 'isofs'];
/** The same for the cloud kernel, which has fewer drivers, and unpacks itself ten times as fast. */
const CLOUD_DRIVERS = ['virtio_pci', 'virtio_blk', 'virtio_scsi', 'isofs'];
const GRUB_MODULES = [
  'part_msdos',
  'ext2',
  'iso9660',
  'normal',
  'configfile',
  'linux',
  'serial',
  'terminal',
  'echo',
  'search',
  'search_label',
  'search_fs_file',
  'test',
  'reboot',
  'halt',
];
/** GRUB's platforms, and what each needs beside the rest. */
const PLATFORMS = { 'i386-pc': ['biosdisk'], 'x86_64-efi': ['fat'] };
const ESP_MEBIBYTES = 16;
/** Where GRUB's first sector says on which sector the rest is ("boot.S", kernel sector), and the partition table. */
const KERNEL_SECTOR_AT = 0x5c;
const PARTITION_AT = 0x1be;

/** Runs a program of an unpacked package with the libraries of the others. */
function runPackaged(trees, path, args) {
  const program = findIn(trees, path).file;
  const loader = realpathSync(findIn(trees, ['lib64/ld-linux-x86-64.so.2', 'lib/x86_64-linux-gnu/ld-linux-x86-64.so.2']).file);
  const folders = trees.flatMap((tree) => ['lib/x86_64-linux-gnu', 'usr/lib/x86_64-linux-gnu'].map((folder) => join(tree, folder)));
  return execFileSync(loader, ['--library-path', folders.join(':'), program, ...args], { stdio: ['ignore', 'pipe', 'pipe'] });
}

/** What GRUB shows and starts. */
const menu = (words) => `serial --unit=0 --speed=115200
terminal_input serial console
terminal_output serial console
set timeout=0
menuentry 'Debian on Nestvm' {
  linux /boot/vmlinuz console=ttyS0 cryptomgr.notests quiet ${words}
  initrd /boot/initrd.cpio
}
`;

function grubImage(trees, output, format, early, platform = 'i386-pc') {
  const config = join(output, `grub-${format}.cfg`);
  writeFileSync(config, early);
  const image = join(output, `${format}.img`);
  const folder = join('usr/lib/grub', platform);
  const modules = join(findTree(trees, join(folder, 'moddep.lst')), folder);
  const wanted = [...PLATFORMS[platform], ...GRUB_MODULES];
  runPackaged(trees, ['usr/bin/grub-mkimage'], ['-O', format, '-d', modules, '-p', '/boot/grub', '-c', config, '-o', image, ...wanted]);
  return { image, modules };
}

const findTree = (trees, path) => findIn(trees, [path]).tree;

/** An initramfs that finds the root file system, or the CD, and goes on there. */
function initramfs(busybox, applets, modules) {
  const archive = new CpioArchive();
  for (const path of ['bin', 'dev', 'proc', 'sys', 'root', 'tmp', 'lib', 'lib/modules']) archive.directory(path);
  archive.character('dev/console', 5, 1).character('dev/null', 1, 3, 0o666);
  archive.file('init', readFileSync(join(here, 'bootable-init.sh')), 0o755);
  archive.file('bin/busybox', readFileSync(busybox), 0o755);
  for (const applet of applets) archive.symlink(`bin/${applet}`, 'busybox');
  for (const { name, path } of modules) archive.file(`lib/modules/${name}`, readFileSync(path));
  archive.file('lib/modules/order', `${modules.map(({ name }) => name).join('\n')}\n`);
  return archive.finish();
}

/** The files of the root file system: busybox and what its init reads. */
function makeRoot(root, { busybox, applets, kernel, initrd }) {
  rmSync(root, { recursive: true, force: true });
  for (const path of ['bin', 'boot/grub', 'dev', 'etc', 'proc', 'root', 'run', 'sbin', 'sys', 'tmp'])
    mkdirSync(join(root, path), { recursive: true });
  copyFileSync(busybox, join(root, 'bin/busybox'));
  for (const applet of applets) symlinkSync('busybox', join(root, 'bin', applet));
  symlinkSync('../bin/busybox', join(root, 'sbin/init'));
  const files = {
    'etc/inittab': '::sysinit:/etc/rc\nttyS0::respawn:/bin/getty -L 115200 ttyS0 vt100\n::ctrlaltdel:/bin/reboot\n::shutdown:/bin/umount -a -r\n',
    'etc/passwd': 'root::0:0:root:/root:/bin/sh\n',
    'etc/group': 'root:x:0:\n',
    'etc/issue': 'Debian on Nestvm \\l\n',
    'etc/hostname': 'nestvm\n',
    'etc/profile': "PS1='nestvm# '\n",
    'boot/grub/grub.cfg': menu(''),
  };
  for (const [name, text] of Object.entries(files)) writeFileSync(join(root, name), text);
  writeFileSync(join(root, 'etc/rc'), readFileSync(join(here, 'bootable-rc.sh')), { mode: 0o755 });
  copyFileSync(kernel, join(root, 'boot/vmlinuz'));
  writeFileSync(join(root, 'boot/initrd.cpio'), initrd);
}

/** An EFI system partition with GRUB where firmware looks on disks that it does not know. */
function systemPartition(trees, output) {
  const { image } = grubImage(trees, output, 'x86_64-efi', `search --set=root --label ${LABEL}\nconfigfile /boot/grub/grub.cfg\n`, 'x86_64-efi');
  const partition = join(output, 'boot-esp.img');
  rmSync(partition, { force: true });
  runPackaged(trees, ['sbin/mkfs.fat', 'usr/sbin/mkfs.fat'], ['-F', '16', '-n', 'ESP', '-C', partition, String(ESP_MEBIBYTES * 1024)]);
  const mtools = (...args) => runPackaged(trees, ['usr/bin/mtools'], ['-c', ...args]);
  mtools('mmd', '-i', partition, '::EFI', '::EFI/BOOT');
  mtools('mcopy', '-i', partition, image, '::EFI/BOOT/BOOTX64.EFI');
  return readFileSync(partition);
}

/** The disk: master boot record and GRUB before the first partition, which holds the file system; the EFI system partition behind it. */
function writeDisk(path, grub, partition, esp) {
  const boot = Buffer.from(readFileSync(join(grub.modules, 'boot.img')));
  const core = readFileSync(grub.image);
  if (core.length > (FIRST_SECTOR - 1) * SECTOR) throw new Error(`GRUB's image of ${core.length} bytes does not fit before the first partition.`);
  boot.writeBigUInt64LE(1n, KERNEL_SECTOR_AT);
  // GRUB's own sector has code for floppies where the table goes.
  boot.fill(0, PARTITION_AT, PARTITION_AT + 64);
  boot.set([0x80, 0, 2, 0, 0x83, 0xff, 0xff, 0xff], PARTITION_AT);
  boot.writeUInt32LE(FIRST_SECTOR, PARTITION_AT + 8);
  boot.writeUInt32LE(partition.length / SECTOR, PARTITION_AT + 12);
  const espSector = FIRST_SECTOR + partition.length / SECTOR;
  boot.set([0, 0xff, 0xff, 0xff, 0xef, 0xff, 0xff, 0xff], PARTITION_AT + 16);
  boot.writeUInt32LE(espSector, PARTITION_AT + 24);
  boot.writeUInt32LE(esp.length / SECTOR, PARTITION_AT + 28);
  const file = openSync(path, 'w');
  writeSync(file, boot, 0, SECTOR, 0);
  writeSync(file, core, 0, core.length, SECTOR);
  writeSync(file, partition, 0, partition.length, FIRST_SECTOR * SECTOR);
  writeSync(file, esp, 0, esp.length, espSector * SECTOR);
  closeSync(file);
}

/** Makes in `output`: `boot-virtio.img`, a disk with the cloud kernel; `boot-ata.img` and `boot-cd.iso`, a disk and a CD with the full kernel. */
export function buildBootable(output, log) {
  const [cloudTree, kernelTree, busyboxTree] = fetchPackages(output, ['linux-image-cloud-amd64', 'linux-image-amd64', 'busybox-static'], log);
  const names = ['grub-common', 'e2fsprogs', 'genisoimage', 'dosfstools', 'mtools'].flatMap((name) => withLibraries(output, name, log));
  const trees = fetchPackages(output, [...new Set(['grub-pc-bin', 'grub-efi-amd64-bin', 'seabios', ...names])], log);
  const busybox = findIn([busyboxTree], ['bin/busybox', 'usr/bin/busybox']).file;
  const applets = execFileSync(busybox, ['--list'], { encoding: 'utf8' })
    .split('\n')
    .filter((name) => name && name !== 'busybox');
  const parts = { trees, output, busybox, applets };
  buildDisk('boot-virtio.img', { ...parts, ...kernelOf(cloudTree, CLOUD_DRIVERS, parts) });
  const full = { ...parts, ...kernelOf(kernelTree, DRIVERS, parts) };
  buildDisk('boot-ata.img', full);
  buildCd('boot-cd.iso', full);
}

function kernelOf(tree, drivers, { busybox, applets }) {
  const name = readdirSync(join(tree, 'boot')).find((file) => file.startsWith('vmlinuz-'));
  const modules = moduleFiles(join(tree, 'lib/modules', name.slice('vmlinuz-'.length)), drivers);
  return { kernel: join(tree, 'boot', name), initrd: initramfs(busybox, applets, modules) };
}

function buildDisk(name, { trees, output, ...parts }) {
  const root = join(output, 'boot-root');
  makeRoot(root, parts);
  const partition = join(output, 'boot-root.img');
  rmSync(partition, { force: true });
  // No features that GRUB 2.06 does not know.
  const format = ['-q', '-t', 'ext4', '-L', LABEL, '-O', '^metadata_csum_seed,^orphan_file', '-E', 'root_owner=0:0', '-d', root];
  runPackaged(trees, ['sbin/mke2fs', 'usr/sbin/mke2fs'], [...format, partition, `${ROOT_MEBIBYTES}M`]);
  const grub = grubImage(trees, output, 'i386-pc', 'set root=(hd0,msdos1)\nset prefix=(hd0,msdos1)/boot/grub\nconfigfile /boot/grub/grub.cfg\n');
  writeDisk(join(output, name), grub, readFileSync(partition), systemPartition(trees, output));
}

function buildCd(name, { trees, output, kernel, initrd }) {
  const cd = join(output, 'boot-cd');
  rmSync(cd, { recursive: true, force: true });
  mkdirSync(join(cd, 'boot/grub'), { recursive: true });
  copyFileSync(kernel, join(cd, 'boot/vmlinuz'));
  writeFileSync(join(cd, 'boot/initrd.cpio'), initrd);
  writeFileSync(join(cd, 'boot/grub/grub.cfg'), menu('nestvm.root=cd'));
  writeFileSync(join(cd, 'hello.txt'), 'hello from the CD\n');
  const sum = createHash('md5').update(readFileSync(kernel)).digest('hex');
  writeFileSync(join(cd, 'sums'), `${sum}  boot/vmlinuz\n`);
  const early = 'search --set=root --file /hello.txt\nset prefix=($root)/boot/grub\nconfigfile /boot/grub/grub.cfg\n';
  const torito = grubImage(trees, output, 'i386-pc-eltorito', early);
  copyFileSync(torito.image, join(cd, 'boot/grub/eltorito.img'));
  const boot = ['-b', 'boot/grub/eltorito.img', '-no-emul-boot', '-boot-load-size', '4', '-boot-info-table'];
  runPackaged(trees, ['usr/bin/genisoimage'], ['-quiet', '-R', '-V', 'NESTVM', ...boot, '-o', join(output, name), cd]);
}
