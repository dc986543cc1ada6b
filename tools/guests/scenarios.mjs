/**
 * The runs of real guests that `pnpm test:guests` makes. `tier` is `ci` (short, in .ci/run) or `nightly`. A run passes when the console shows every
 * line of `expect` in this order and those of `somewhere`, none of `refuse`, and the emulator ends with `status` (0). A run with `play` is a script of its own, which throws when something is wrong.
 */

import { copyFileSync } from 'node:fs';
import { twoMachines, withQemu } from './cables.mjs';
import { crashes } from './crashes.mjs';
import { balloon, consoles, compactDisc as scsiDisc, sockets } from './devices.mjs';
import { folders } from './folders.mjs';
import { freePages } from './free-pages.mjs';
import { hotplug } from './hotplug.mjs';
import { l2Moves } from './l2-migration.mjs';
import { moves, rule } from './migration.mjs';
import { disksMove } from './migration-disks.mjs';
import { faultsWhileMoving } from './migration-faults.mjs';
import { sameRun } from './same-run.mjs';
import { screens } from './screens.mjs';
import { downloads, webBackends } from './web.mjs';

const linux = (/** @type {string[]} */ ...words) => ['console=ttyS0', 'quiet', 'cryptomgr.notests', ...words].join(' ');

/** Typed at the shell of a booted guest. */
const shell = { at: 'nestvm# ', type: 'echo sum-$((6*7)) cpus-$(nproc); poweroff -f\n' };

/** Debian's kernel and a busybox shell. */
function boot(name, tier, machine, cpu, { smp = 1, halt = 'poweroff -f' } = {}) {
  return {
    name,
    tier,
    initramfs: 'initrd.cpio',
    arguments: ['-M', machine, '-cpu', cpu, '-m', '512M', '-smp', String(smp)],
    append: linux('nestvm.fin=poweroff'),
    input: { ...shell, type: shell.type.replace('poweroff -f', halt) },
    expect: ['NESTVM-GUEST-READY', `sum-42 cpus-${smp}`],
    timeoutMinutes: 5,
  };
}

/** A kernel with shadow stacks for its programs and, where the CPU has it, indirect-branch tracking for itself: both say at boot or at each step what is wrong. */
function cet(name, tier, cpu, { smp = 1, tracking = 'enabled' } = {}) {
  return {
    ...boot(name, tier, 'pc', cpu, { smp }),
    kernel: 'vmlinuz-cet',
    input: { at: shell.at, type: 'echo tracking-$(dmesg | grep -o "Branch Tracking enabled" | cut -d" " -f3); cet; echo status-$?; poweroff -f\n' },
    expect: [
      `tracking-${tracking}`,
      'cet: calls 6765',
      'cet: signals 100',
      'cet: changed return address 2',
      'cet: ordinary write -11',
      'cet: WRSS 0',
      'cet: another stack 0',
      'cet: processes 100',
      'status-0',
    ],
    refuse: ['Missing ENDBR'],
    timeoutMinutes: 10,
  };
}

/** Debian's KVM in L1 (and in L2 …), `levels` in all. */
function levels(
  name,
  tier,
  cpu,
  { depth = 2, words = [], memory = '640M', initramfs = 'nested.cpio', smp = 1, vcpus = 1, options = [], somewhere = [], timeoutMinutes = 15 } = {},
) {
  return {
    name,
    tier,
    initramfs,
    // One nanosecond for each instruction: the same run at any speed of the host.
    arguments: ['--nested', '--levels', '-M', 'pc', '-cpu', cpu, '-m', memory, '-smp', String(smp), '-icount', 'shift=0,sleep=off', ...options],
    append: linux('nestvm.run=levels', `nestvm.levels=${depth}`, ...(vcpus > 1 ? [`nestvm.vcpus=${vcpus}`] : []), ...words),
    expect: [
      'hello from L1',
      `L1: CPUs: ${smp}`,
      ...Array.from({ length: depth - 1 }, (_, i) => [`hello from L${i + 2}`, `L${i + 2}: CPUs: ${vcpus}`]).flat(),
      ...Array.from({ length: depth - 1 }, (_, i) => `L${depth - 1 - i}: L${depth - i} ended with status 0`),
    ],
    somewhere,
    refuse: ['stale translation used'],
    timeoutMinutes,
  };
}

/** QEMU in L1 and in L2. */
const qemuL3 = {
  depth: 3,
  words: ['nestvm.vmm=qemu-pc', 'nestvm.memory=512,128'],
  memory: '1536M',
  initramfs: 'nested-qemu-l3.cpio',
  timeoutMinutes: 60,
};

/** L1 with two CPUs, which hand L2 to each other while it boots. */
const moved = { smp: 2, words: ['nestvm.move=yes'], somewhere: ['L1: moved L2 from CPU to CPU ten times'] };

const qemu = (/** @type {string} */ board) => ({ words: [`nestvm.vmm=qemu-${board}`], memory: '768M', initramfs: 'nested-qemu.cpio' });

/** Debian's virtio_net: DHCP, a ping, and a file that leaves through NAT and comes back through a forwarded port of the host. */
function network(name, tier, machine, device, port, { smp = 1 } = {}) {
  return {
    name,
    tier,
    initramfs: 'virtio.cpio',
    arguments: ['-M', machine, '-m', '256M', '-smp', String(smp), '-netdev', `user,id=n0,hostfwd=tcp::${port}-:80`, '-device', `${device},netdev=n0`],
    append: linux('nestvm.run=net', `nestvm.url=http://10.0.2.2:${port}/`),
    expect: [
      'net: eth0 has 10.0.2.15/24, router 10.0.2.2, dns 10.0.2.3',
      'net: the host answers pings',
      'net: fetched 1048576 bytes',
      'net: what came is what was sent',
    ],
    timeoutMinutes: 5,
  };
}

/** Debian's Xen as L1: its dom0, then by xl a PVH guest with the cloud kernel as L2. */
function xen(name, tier, cpu, somewhere = []) {
  return {
    name,
    tier,
    kernel: 'xen',
    initrd: (/** @type {(file: string) => string} */ path) =>
      `${path('vmlinuz-dom0')} ${linux('nestvm.run=xen').replace('ttyS0', 'hvc0')},${path('xen.cpio')}`,
    arguments: ['--nested', '-M', 'q35', '-cpu', cpu, '-m', '1024M', '-icount', 'shift=3,sleep=off'],
    // Eight nanoseconds for each instruction: Xen waits by TSC for its timers, which this makes short. There is no BIOS to call, since the machine starts at
    // the multiboot entry: hence no-real-mode.
    append: 'console=com1 com1=115200,8n1 dom0_mem=512M noreboot no-real-mode',
    expect: ['Dom0 kernel: 64-bit', 'hello from dom0', 'hello from L2', 'dom0: L2 ended'],
    somewhere,
    timeoutMinutes: 60,
  };
}

/** Debian makes a file system on a blank disk with its own drivers, writes files, starts again and compares. `devices` use the drive `disk`. */
function disks(name, tier, machine, devices, { smp = 1, disk = 'vda' } = {}) {
  return {
    name,
    tier,
    initramfs: 'virtio.cpio',
    arguments: ['-M', machine, '-m', '256M', '-smp', String(smp), ...devices.flatMap((device) => ['-device', device])],
    disk: { file: `${name}.img`, mebibytes: 64 },
    reboots: true,
    append: linux('nestvm.run=disks', 'nestvm.mkfs=yes', `nestvm.disk=${disk}`),
    expect: ['disks: 20 files written', 'disks: the file system is clean', 'disks: 20 files are as they were written', 'disks: random bytes 1024'],
    timeoutMinutes: 5,
  };
}

/** SeaBIOS, GRUB and Debian from a disk to a login on the serial port; with `again`, it starts from what it has written. */
function firmware(name, tier, machine, drives, { again = false } = {}) {
  const login = { at: 'login: ', type: 'root\n' };
  const words = [{ at: 'nestvm# ', type: `mount | grep ' / '; ${again ? 'reboot' : 'poweroff'}\n` }];
  if (again) words.push(login, { at: 'nestvm# ', type: 'poweroff\n' });
  return {
    name,
    tier,
    reboots: true,
    arguments: ['-M', machine, '-m', '256M', '-vga', 'none', '-snapshot'],
    drives,
    input: [login, ...words],
    expect: [
      'SeaBIOS',
      'GRUB',
      'bootable: root on',
      'bootable: start 1, 4194304 bytes',
      'login:',
      ...(again ? ['SeaBIOS', 'bootable: start 2, 4194304 bytes'] : []),
      'Power down',
    ],
    timeoutMinutes: 10,
  };
}

/** OVMF, GRUB for UEFI and Debian from a disk to a login; that there are two CPUs it knows by the ACPI tables alone. */
function uefiDisk(name, tier, machine, drives) {
  return {
    name,
    tier,
    uefi: true,
    bootable: true,
    reboots: true,
    arguments: ['-M', machine, '-m', '256M', '-smp', '2', '-vga', 'none', '-snapshot'],
    drives: (path) => [...flash(path, name), ...drives(path)],
    input: [
      { at: 'login: ', type: 'root\n' },
      { at: 'nestvm# ', type: 'echo there are $(nproc) CPUs; poweroff\n' },
    ],
    expect: ['BdsDxe', 'GRUB', 'bootable: root on', 'bootable: start 1, 4194304 bytes', 'login:', 'there are 2 CPUs', 'Power down'],
    timeoutMinutes: 20,
  };
}

/** An empty disk, and the one to start from, each with its turn. */
const inTurn = (path, empty, full) =>
  [
    ['-blockdev', 'driver=null-co,node-name=empty,size=1M,read-zeroes=on'],
    ['-drive', `file=${path('boot-virtio.img')},format=raw,if=none,id=full`],
    ['-device', `virtio-blk-pci,drive=empty,bootindex=${empty}`],
    ['-device', `virtio-blk-pci,drive=full,bootindex=${full}`],
  ].flat();

/** OVMF in flash, to its shell: a variable that is set there is still there after a restart. */
function uefi(name, tier, machine) {
  const variable = 'NestvmTest -guid 7c9a1b52-6e0d-4f5b-9d3a-2f4c8e6a1b70';
  const shell = (line) => ({ at: 'Shell> ', type: `${line}\r` });
  return {
    name,
    tier,
    reboots: true,
    uefi: true,
    arguments: ['-M', machine, '-m', '256M', '-vga', 'none'],
    drives: (path) => flash(path, name),
    input: [shell('ver'), shell(`setvar ${variable} -bs -rt -nv =L"kept"`), shell('reset'), shell(`setvar ${variable}`), shell('reset -s')],
    expect: ['UEFI Interactive Shell', 'UEFI v2.', 'UEFI Interactive Shell', '6B 00 65 00 70 00 74 00'],
    timeoutMinutes: 10,
  };
}

/** Firmware that starts Debian's kernel, which it gets from the firmware configuration device. */
function handed(name, tier, machine, uefi, firmware) {
  const { input, expect, append } = boot(name, tier, machine, 'max');
  const says = uefi ? [] : ['SeaBIOS', 'Booting from ROM'];
  return {
    name,
    tier,
    uefi,
    input,
    append,
    firmware,
    initramfs: 'initrd.cpio',
    timeoutMinutes: 10,
    arguments: ['-M', machine, '-m', '512M', '-vga', 'none'],
    expect: [...says, ...expect],
  };
}

/** OVMF and a variable store of its own. */
function flash(path, name) {
  const variables = path(`${name}.vars.fd`);
  copyFileSync(path('OVMF_VARS_4M.fd'), variables);
  const pflash = (unit, file) => ['-drive', `if=pflash,format=raw,unit=${unit},file=${file}`];
  return [...pflash('0,readonly=on', path('OVMF_CODE_4M.fd')), ...pflash(1, variables)];
}

/** SeaBIOS and GRUB from a CD, whose files Debian then reads. */
function compactDisc(name, tier, machine, drives) {
  const expect = ['SeaBIOS', 'GRUB', 'bootable: hello from the CD', 'boot/vmlinuz: OK'];
  return { name, tier, arguments: ['-M', machine, '-m', '256M', '-vga', 'none', '-boot', 'd'], drives, expect, timeoutMinutes: 10 };
}

const avic = { words: ['nestvm.vmm=qemu-microvm,pit=off,pic=off', 'nestvm.kvm=avic=1'] };

/** A script that plays with guests, from `migration.mjs` or `devices.mjs`. */
const played = (name, tier, play, initramfs = 'nested.cpio') => ({ name, tier, initramfs, play: (report) => play(name, report) });

/** The same with the drivers of virtio devices. */
const device = (name, tier, play, machine, suffix, /** @type {unknown} */ more = '') =>
  played(name, tier, (_, report) => play(name, { machine, suffix, more, report }), 'virtio.cpio');

/** A display and input devices, with Debian's full kernel. */
const screen = (name, tier, machine, suffix, more = '') =>
  played(name, tier, (_, report) => screens(name, { machine, suffix, more, report }), 'full.cpio');

/** Folders of the host, with Debian's full kernel. */
const shared = (name, tier, machine, device) => played(name, tier, (_, report) => folders(name, { machine, device, report }), 'full.cpio');
/** kill -9 of the emulator under load. */
const crash = (name, tier, options) => played(name, tier, (_, report) => crashes(name, { ...options, report }), 'virtio.cpio');

/** The same guest several ways, at every checkpoint. */
const same = (name, tier, guest, ways, everyMillions, most, initramfs = 'initrd.cpio') =>
  played(name, tier, (_, report) => sameRun({ guest, ways, everyMillions, most, report }), initramfs);

const newerRule = (/** @type {string} */ cpu) => (/** @type {string} */ name, report) =>
  rule(name, cpu, { attempts: 20, initramfs: 'nested-cet.cpio', staysOn: true, report });

export const scenarios = [
  boot('boot-pc', 'ci', 'pc', 'max'),
  boot('boot-q35-epyc', 'ci', 'q35', 'EPYC'),
  boot('boot-microvm-nehalem', 'ci', 'microvm', 'Nehalem', { halt: 'reboot -f' }),
  boot('boot-isapc-qemu64', 'ci', 'isapc', 'qemu64', { halt: 'reboot -f' }),
  cet('cet-intel', 'ci', 'max', { smp: 2 }),
  cet('cet-amd', 'nightly', 'EPYC-Milan,cet-ss=on', { tracking: '' }),
  boot('boot-pc-smp2-haswell', 'ci', 'pc', 'Haswell', { smp: 2 }),
  firmware('seabios-pc-virtio', 'ci', 'pc', (path) => ['-drive', `file=${path('boot-virtio.img')},format=raw,if=virtio`]),
  firmware('seabios-q35-virtio', 'nightly', 'q35', (path) => ['-drive', `file=${path('boot-virtio.img')},format=raw,if=virtio`]),
  firmware('seabios-pc-ide', 'nightly', 'pc', (path) => ['-hda', path('boot-ata.img')], { again: true }),
  firmware('seabios-q35-ahci', 'nightly', 'q35', (path) => ['-hda', path('boot-ata.img')], { again: true }),
  compactDisc('seabios-pc-cd', 'nightly', 'pc', (path) => ['-cdrom', path('boot-cd.iso')]),
  compactDisc('seabios-q35-cd', 'nightly', 'q35', (path) => ['-cdrom', path('boot-cd.iso')]),
  firmware('seabios-pc-bootindex', 'nightly', 'pc', (path) => inTurn(path, 2, 1)),
  uefi('uefi-q35', 'ci', 'q35'),
  uefiDisk('uefi-q35-grub', 'nightly', 'q35', (path) => inTurn(path, 2, 1)),
  uefi('uefi-pc', 'nightly', 'pc'),
  handed('kernel-by-seabios', 'ci', 'pc', false, () => ['-bios', 'bios-256k.bin']),
  handed('kernel-by-ovmf', 'nightly', 'q35', true, (path) => flash(path, 'kernel-by-ovmf')),
  boot('boot-pc-skylake', 'nightly', 'pc', 'Skylake-Server'),
  boot('boot-q35-opteron', 'nightly', 'q35', 'Opteron_G5'),
  boot('boot-q35-smp4', 'nightly', 'q35', 'max', { smp: 4 }),

  levels('kvm-intel-l2', 'ci', 'host'),
  levels('kvm-amd-l2', 'ci', 'EPYC,svm=on'),
  levels('kvm-amd-qemu-microvm-l2', 'ci', 'EPYC-Milan,svm=on', qemu('microvm')),
  levels('kvm-intel-qemu-microvm-l2', 'nightly', 'Haswell-noTSX-IBRS,vmx=on', qemu('microvm')),
  levels('kvm-intel-qemu-pc-l2', 'nightly', 'Skylake-Server,vmx=on', qemu('pc')),
  levels('kvm-amd-qemu-pc-l2', 'nightly', 'EPYC,svm=on', qemu('pc')),
  // KVM uses AVIC only without a PIT whose lost ticks it has to make up for.
  levels('kvm-amd-avic-l2', 'nightly', 'EPYC-Milan,svm=on,avic=on,x2avic=on', { ...qemu('microvm'), ...avic }),
  levels('kvm-intel-haswell-l2', 'nightly', 'Haswell-noTSX-IBRS,vmx=on'),
  levels('kvm-intel-skylake-l2', 'nightly', 'Skylake-Server,vmx=on'),
  levels('kvm-intel-sapphire-l2', 'nightly', 'SapphireRapids,vmx=on'),
  levels('kvm-amd-milan-l2', 'nightly', 'EPYC-Milan,svm=on'),
  levels('kvm-intel-noept-l2', 'nightly', 'Haswell-noTSX-IBRS,vmx=on', { words: ['nestvm.kvm=ept=0'] }),
  levels('kvm-amd-nonpt-l2', 'nightly', 'EPYC,svm=on', { words: ['nestvm.kvm=npt=0'] }),
  levels('kvm-intel-smp2-l2', 'nightly', 'host', moved),
  levels('kvm-amd-smp2-l2', 'nightly', 'EPYC,svm=on', moved),
  levels('kvm-intel-vcpus2-l2', 'nightly', 'host', { ...qemu('microvm'), vcpus: 2 }),
  levels('kvm-amd-smp2-vcpus2-l2', 'nightly', 'EPYC,svm=on', { ...qemu('pc'), smp: 2, vcpus: 2 }),
  levels('kvm-intel-evict-l2', 'nightly', 'host', { options: ['--tlb', 'evict=7'] }),
  levels('kvm-amd-evict-l2', 'nightly', 'EPYC,svm=on', { options: ['--tlb', 'evict=7'] }),
  levels('kvm-intel-sanitize-l2', 'nightly', 'host', { options: ['--tlb', 'sanitize'], timeoutMinutes: 60 }),
  levels('kvm-amd-sanitize-l2', 'nightly', 'EPYC,svm=on', { options: ['--tlb', 'sanitize'], timeoutMinutes: 60 }),
  levels('kvm-intel-l3', 'nightly', 'host', { depth: 3, timeoutMinutes: 40 }),
  // All of SVM: virtual VMLOAD and VMSAVE and the virtual GIF spare L3 a third of its VM entries.
  levels('kvm-amd-l3', 'nightly', 'host,vendor=amd', { depth: 3, timeoutMinutes: 40 }),
  levels('kvm-intel-qemu-l3', 'nightly', 'host', qemuL3),
  levels('kvm-amd-qemu-l3', 'nightly', 'host,vendor=amd', qemuL3),

  disks('virtio-pci', 'ci', 'pc', ['virtio-blk-pci,drive=disk', 'virtio-rng-pci']),
  disks('virtio-mmio', 'ci', 'microvm', ['virtio-blk-device,drive=disk', 'virtio-rng-device']),
  disks('virtio-packed', 'ci', 'q35', ['virtio-blk-pci,drive=disk,packed=on,num-queues=2', 'virtio-rng-pci,packed=on,vectors=0'], { smp: 2 }),
  network('virtio-net-pci', 'ci', 'pc', 'virtio-net-pci', 18973),
  device('virtio-net-download-pci', 'ci', downloads, 'pc', 'pci'),
  device('virtio-net-download-modern', 'nightly', downloads, 'q35', 'pci', ',disable-legacy=on'),
  device('virtio-net-download-packed', 'nightly', downloads, 'pc', 'pci', ',packed=on'),
  device('virtio-net-download-mmio', 'nightly', downloads, 'microvm', 'device'),
  device('virtio-net-download-mmio-packed', 'nightly', downloads, 'microvm', 'device', ',packed=on'),
  device('web-backends', 'ci', webBackends, 'pc', 'pci'),
  network('virtio-net-packed', 'nightly', 'q35', 'virtio-net-pci,packed=on,disable-legacy=on,mq=on', 18974, { smp: 2 }),
  network('virtio-net-mmio', 'nightly', 'microvm', 'virtio-net-device', 18975),
  network('virtio-net-legacy', 'nightly', 'pc', 'virtio-net-pci,disable-modern=on', 18976),
  disks('virtio-legacy', 'nightly', 'pc', ['virtio-blk-pci,drive=disk,disable-modern=on', 'virtio-rng-pci,disable-modern=on']),
  disks('virtio-modern', 'nightly', 'q35', ['virtio-blk-pci-non-transitional,drive=disk', 'virtio-rng-pci-non-transitional']),
  disks('virtio-transitional-packed', 'nightly', 'pc', ['virtio-blk-pci,drive=disk,packed=on', 'virtio-rng-pci,packed=on']),
  disks('virtio-mmio-packed', 'nightly', 'pc', ['virtio-blk-device,drive=disk,packed=on', 'virtio-rng-device,packed=on']),

  device('virtio-console-pci', 'ci', consoles, 'pc', 'pci'),
  device('virtio-console-modern', 'nightly', consoles, 'q35', 'pci', ',disable-legacy=on'),
  device('virtio-console-mmio-packed', 'nightly', consoles, 'microvm', 'device', ',packed=on'),
  device('virtio-console-mmio', 'nightly', consoles, 'microvm', 'device'),
  device('virtio-balloon-pci', 'nightly', balloon, 'pc', 'pci'),
  device('virtio-balloon-modern', 'nightly', balloon, 'q35', 'pci', ',disable-legacy=on'),
  device('virtio-balloon-packed', 'nightly', balloon, 'pc', 'pci', ',packed=on'),
  device('virtio-balloon-mmio', 'nightly', balloon, 'microvm', 'device', ',packed=on'),
  played('migrate-free-pages', 'nightly', (name, report) => freePages(name, { report }), 'virtio.cpio'),
  device('virtio-balloon-mmio-split', 'nightly', balloon, 'microvm', 'device'),
  device('virtio-vsock-pci', 'ci', sockets, 'q35', 'pci'),
  device('virtio-vsock-packed', 'nightly', sockets, 'pc', 'pci', ',packed=on'),
  device('virtio-vsock-mmio', 'nightly', sockets, 'microvm', 'device', ',packed=on'),
  device('virtio-vsock-mmio-split', 'nightly', sockets, 'microvm', 'device'),
  disks('virtio-scsi-pci', 'ci', 'q35', ['virtio-scsi-pci', 'scsi-hd,drive=disk,serial=nestvm0', 'virtio-rng-pci'], { disk: 'sda' }),
  disks('virtio-scsi-mmio', 'nightly', 'microvm', ['virtio-scsi-device,packed=on', 'scsi-hd,drive=disk', 'virtio-rng-device'], { disk: 'sda' }),
  disks('virtio-scsi-legacy', 'nightly', 'pc', ['virtio-scsi-pci,disable-modern=on', 'scsi-hd,drive=disk,scsi-id=3', 'virtio-rng-pci'], {
    disk: 'sda',
  }),
  device('virtio-scsi-cd', 'ci', scsiDisc, 'pc', 'pci'),
  device('hotplug-pc', 'ci', hotplug, 'pc', 'pci', {}),
  device('hotplug-q35', 'nightly', hotplug, 'q35', 'pci', { packed: true, 'disable-legacy': 'on' }),
  crash('crash-raw', 'ci', { machine: 'pc', format: 'raw', device: ['virtio-blk-pci,drive=disk'], tries: 2 }),
  crash('crash-qcow2', 'nightly', { machine: 'q35', format: 'qcow2', device: ['virtio-blk-pci,drive=disk,packed=on'], tries: 20 }),
  crash('crash-scsi', 'nightly', { machine: 'pc', format: 'qcow2', device: ['virtio-scsi-pci', 'scsi-hd,drive=disk'], tries: 10 }),
  device('virtio-console-packed', 'nightly', consoles, 'q35', 'pci', ',packed=on,disable-legacy=on'),

  played('socket-two-machines', 'ci', twoMachines, 'virtio.cpio'),
  played('socket-with-qemu', 'ci', withQemu, 'virtio.cpio'),

  screen('virtio-gpu-input-pci', 'ci', 'pc', 'pci'),
  screen('virtio-gpu-input-mmio', 'nightly', 'microvm', 'device'),
  screen('virtio-gpu-input-packed', 'nightly', 'q35', 'pci', ',packed=on'),

  shared('virtio-9p-pci', 'ci', 'pc', 'virtio-9p-pci'),
  shared('virtio-9p-mmio', 'nightly', 'microvm', 'virtio-9p-device'),
  shared('virtio-9p-modern', 'nightly', 'q35', 'virtio-9p-pci,disable-legacy=on'),
  shared('virtio-9p-mmio-packed', 'nightly', 'microvm', 'virtio-9p-device,packed=on'),
  shared('virtio-9p-packed', 'nightly', 'q35', 'virtio-9p-pci,packed=on,disable-legacy=on'),

  xen('xen-amd', 'nightly', 'EPYC,svm=on'),
  xen('xen-intel', 'nightly', 'Skylake-Server,vmx=on'),
  xen('xen-cet-amd', 'nightly', 'EPYC-Milan,svm=on,cet-ss=on', ['Enabling Supervisor Shadow Stacks']),
  xen('xen-cet-intel', 'nightly', 'max', ['Enabling Supervisor Shadow Stacks', 'Enabling Indirect Branch Tracking']),

  same('icount-boot', 'ci', 'boot', ['off', 'on'], 100),
  same('icount-boot-all', 'nightly', 'boot', ['off', 'on', 'force', 'mixed'], 50),
  same('icount-bench', 'nightly', 'bench', ['off', 'on', 'mixed'], 250),
  same('icount-l2-intel', 'nightly', 'soak-intel', ['off', 'on', 'mixed'], 500, 16, 'soak.cpio'),
  same('icount-l2-amd', 'nightly', 'soak-amd', ['off', 'on', 'mixed'], 500, 16, 'soak.cpio'),

  played('migrate-under-load', 'ci', (name, report) => moves(name, ['-m', '256M'], { hops: 10, network: true, report }), 'virtio.cpio'),
  played('migrate-disks', 'ci', (name, report) => disksMove(name, ['-M', 'pc'], { hops: 3, report }), 'virtio.cpio'),
  played(
    'migrate-under-load-100',
    'nightly',
    (name, report) => moves(name, ['-M', 'q35', '-m', '256M'], { hops: 100, network: true, report }),
    'virtio.cpio',
  ),
  played('migrate-faults-100', 'nightly', (name, report) => faultsWhileMoving(name, ['-m', '160M'], { tries: 100, report })),
  played('l2-migration-amd', 'nightly', (name, report) => l2Moves(name, 'EPYC,svm=on', report), 'nested-net.cpio'),
  played('l2-migration-intel', 'nightly', (name, report) => l2Moves(name, 'Haswell,vmx=on', report), 'nested-net.cpio'),
  // KVM of 6.12 stays in VMX operation, or leaves SVME set, from the moment at which it is loaded.
  played('l2-snapshot-rule-newer-amd', 'nightly', newerRule('EPYC,svm=on'), 'nested-cet.cpio'),
  played('l2-snapshot-rule-newer-intel', 'nightly', newerRule('Haswell,vmx=on'), 'nested-cet.cpio'),
  played('l2-snapshot-rule-amd', 'nightly', (name, report) => rule(name, 'EPYC,svm=on', { attempts: 1000, report })),
  played('l2-snapshot-rule-intel', 'nightly', (name, report) => rule(name, 'Haswell,vmx=on', { attempts: 1000, report })),
  played('l2-snapshot-rule-smp-amd', 'nightly', (name, report) => rule(name, 'EPYC,svm=on', { attempts: 1000, smp: 2, report })),
  played('l2-snapshot-rule-smp-intel', 'nightly', (name, report) => rule(name, 'Skylake-Server,vmx=on', { attempts: 1000, smp: 2, report })),
];
