import { describe, expect, it } from 'vitest';
import { type Ended, fileOf, guest, nestvm, pathFor } from './spawn.js';

const HALT = [0xfa, 0xf4];

/** What a command line that cannot be followed gives: one line on standard error, status 2, nothing on standard output. */
const refusal = (message: RegExp): object => ({ status: 2, out: '', lines: [expect.stringMatching(message)] });
const withLines = ({ err, ...rest }: Ended): object => ({
  ...rest,
  lines: err.split('\n').filter((line) => line !== '' && !line.includes('warning:')),
});

describe('bad input', () => {
  const elf = (machine: number): Uint8Array =>
    Uint8Array.of(0x7f, 0x45, 0x4c, 0x46, 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, machine, 0, ...new Array<number>(44).fill(0));
  /** A bzImage header whose set-up code says that more follows than there is. */
  const truncatedLinux = (): Uint8Array => {
    const bytes = new Uint8Array(0x400);
    bytes[0x1f1] = 30;
    bytes.set([0x55, 0xaa, 0xeb, 0x66, 0x48, 0x64, 0x72, 0x53, 0x0f, 0x02], 0x1fe);
    return bytes;
  };

  /** A bzImage of 4 KiB that unpacks to 16 MiB and behind. */
  const linux = (): Uint8Array => {
    const bytes = new Uint8Array(0x600 + 0x1000);
    const view = new DataView(bytes.buffer);
    bytes.set([2], 0x1f1);
    view.setUint32(0x1f4, 0x100, true);
    bytes.set([0x55, 0xaa, 0xeb, 0x6a, 0x48, 0x64, 0x72, 0x53, 0x0f, 0x02], 0x1fe);
    bytes[0x211] = 1;
    view.setUint32(0x22c, 0x7fffffff, true);
    view.setUint32(0x230, 0x200000, true);
    bytes.set([1, 0, 3], 0x234);
    view.setUint32(0x238, 2047, true);
    view.setBigUint64(0x258, 0x1000000n, true);
    view.setUint32(0x260, 0x200000, true);
    return bytes;
  };
  /** A raw multiboot 1 kernel that wants to be loaded at an address. */
  const multiboot = (load: number, flags = 0x10000): Uint8Array => {
    const bytes = new Uint8Array(256);
    const view = new DataView(bytes.buffer);
    [0x1badb002, flags, -(0x1badb002 + flags) | 0, load, load, load + 256, load + 256, load + 64].forEach((word, i) =>
      view.setInt32(4 * i, word | 0, true),
    );
    return bytes;
  };

  it.each<[string, () => string[], RegExp]>([
    ['an absent kernel', () => ['-kernel', pathFor('absent')], /no such file; check the path/],
    ['a folder for a kernel', () => ['-kernel', pathFor('.')], /a directory, not a file/],
    ['an empty kernel', () => ['-kernel', fileOf('')], /^nestvm: .*file/],
    ['a kernel that is none', () => ['-kernel', fileOf('#!/bin/sh\necho hello\n')], /^nestvm: .*file/],
    ['a truncated bzImage', () => ['-kernel', fileOf(truncatedLinux())], /^nestvm: .*file/],
    ['an ELF for another machine', () => ['-kernel', fileOf(elf(0xb7))], /^nestvm: .*file/],
    ['firmware of an impossible size', () => ['-bios', fileOf(new Uint8Array(5000))], /firmware of 5000 bytes/],
    ['firmware that is absent', () => ['-bios', pathFor('absent')], /no such file/],
    ['a truncated ELF', () => ['-kernel', fileOf(elf(0x3e).subarray(0, 40))], /the ELF header is cut off after 40 bytes/],
    ['an ELF without an entry for us', () => ['-kernel', process.execPath], /neither a PVH note nor a multiboot header/],
    [
      'a kernel with too little memory',
      () => ['-kernel', fileOf(linux()), '-m', '16M'],
      /RAM ends at 0x1000000; give the guest at least \d+ MiB \(-m\)/,
    ],
    [
      'an initrd that is larger than RAM',
      () => ['-kernel', fileOf(linux()), '-initrd', fileOf(new Uint8Array(40 << 20)), '-m', '32M'],
      /40 MiB do not fit .*give the guest more memory \(-m\)/,
    ],
    ['two initrds for Linux', () => ['-kernel', fileOf(linux()), '-initrd', `${fileOf('a')},${fileOf('b')}`], /a Linux kernel takes one: join them/],
    ['an absent initrd', () => ['-kernel', fileOf(linux()), '-initrd', pathFor('absent')], /-initrd .*absent: no such file; check the path/],
    ['a command line that is too long', () => ['-kernel', fileOf(linux()), '-append', 'x'.repeat(3000)], /-append/],
    ['a multiboot kernel beyond memory', () => ['-kernel', fileOf(multiboot(0x8000000)), '-m', '16M'], /-m/],
    ['a multiboot kernel that asks too much', () => ['-kernel', fileOf(multiboot(0x100000, 0x10020))], /^nestvm: .*file/],
    ['an image beyond memory', () => ['-device', `loader,file=${fileOf('x')},addr=0x10000000,cpu-num=0`, '-m', '4M'], /^nestvm: .*file/],
    ['a serial file that cannot be made', () => [...guest(...HALT), '-serial', 'file:/nonexistent/log'], /no such file|not a directory/],
    ['a modprobe file that is absent', () => [...guest(...HALT), '--modprobe', pathFor('absent')], /--modprobe .*absent: no such file/],
    ['vmx=on without nesting', () => [...guest(...HALT), '-cpu', 'Haswell,vmx=on'], /add --nested/],
    ['several CPUs without APICs', () => [...guest(...HALT), '-smp', '2', '-cpu', 'max,-apic'], /several CPUs need local APICs/],
    ['several CPUs on a board for one', () => [...guest(...HALT), '-smp', '2', '-M', 'isapc'], /board 'isapc' has one CPU/],
    ['a folder for a snapshot', () => [...guest(...HALT), '-loadvm', pathFor('.')], /-loadvm .*: a directory, not a file/],
    [
      'two disks on one image',
      () => {
        const image = fileOf(new Uint8Array(4096));
        return [...guest(...HALT), '-hda', image, '-hdb', image];
      },
      /Failed to get "write" lock. Is another process using the image .* or another drive\?/,
    ],
    [
      'a socket in a folder that is absent',
      () => [...guest(...HALT), '-qmp', 'unix:/nonexistent/q,server=on,wait=off'],
      /there is no folder \/nonexistent/,
    ],
    [
      'a disk that no device has',
      () => [...guest(...HALT), '-drive', `file=${pathFor('absent')},if=none,id=d`],
      /absent: no such file; check the path/,
    ],
    ['a node that no device has', () => [...guest(...HALT), '-blockdev', `file,node-name=n,filename=${pathFor('absent')}`], /absent: no such file/],
    ['an unknown option', () => ['-kernal', 'x'], /the nearest is '-kernel'/],
    ['an unknown command', () => ['rum'], /no such command; the nearest is 'run'/],
  ])('%s', async (_name, args, message) => {
    expect(withLines(await nestvm(...args()))).toMatchObject(refusal(message));
  });
});

it.each(['exec:false', 'exec:echo hello'])('a machine that was to come by %s and did not: status 1 and one line', async (uri) => {
  expect(withLines(await nestvm(...guest(...HALT), '-incoming', uri))).toMatchObject({
    status: 1,
    lines: [expect.stringMatching(/the machine here was not started/)],
  });
});
