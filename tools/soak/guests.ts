/** The guests that are run several ways, and the ways. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { MachineOptions } from '../../packages/machine/src/index.js';
import { defaultOutput } from '../guests/build.mjs';

/** What is not the same in all ways. */
export interface Variant {
  readonly jit: 'off' | 'on' | 'force' | 'mixed';
  /** Drops caches at random. */
  readonly dropSeed?: number;
  /** Slices between two drops, on average. */
  readonly dropEvery?: number;
  /** Forgets translations at random, each time that one is made. */
  readonly evictSeed?: number;
}

/** A guest, without what is not the same in all ways. */
export interface GuestOrder {
  readonly cpu: string;
  readonly memoryMiB: number;
  readonly nested: boolean;
  readonly initramfs: string;
  readonly words: readonly string[];
}

/** What a process that runs a guest is told. */
export interface RunOrder {
  readonly guest: GuestOrder;
  readonly variant: Variant;
}

const building = ['nestvm.run=levels', 'nestvm.levels=2', 'nestvm.beside=soak', 'nestvm.last=soak', 'nestvm.memory=192'];

export const guests = {
  /** Debian to its shell's first lines, and off. */
  boot: { cpu: 'max', memoryMiB: 256, nested: false, initramfs: 'initrd.cpio', words: ['nestvm.run=true'] },
  /** … which runs the list of the benchmarks, shortened. */
  bench: { cpu: 'max', memoryMiB: 256, nested: false, initramfs: 'initrd.cpio', words: ['nestvm.run=bench', 'nestvm.scale=100'] },
  /** Debian that builds and compresses files in L1 and, under its KVM, in L2, for ever. */
  'soak-intel': { cpu: 'host,vendor=intel', memoryMiB: 640, nested: true, initramfs: 'soak.cpio', words: building },
  'soak-amd': { cpu: 'host,vendor=amd', memoryMiB: 640, nested: true, initramfs: 'soak.cpio', words: building },
} satisfies Record<string, GuestOrder>;

/** The machine of an order; a nanosecond for each instruction. */
export function machineOptions({ guest, variant }: RunOrder, write: (byte: number) => void): MachineOptions {
  const { jit, dropSeed, dropEvery, evictSeed } = variant;
  const file = (name: string): { name: string; bytes: Uint8Array } => ({ name, bytes: readFileSync(join(defaultOutput, name)) });
  return {
    board: 'pc',
    cpu: guest.cpu,
    nested: guest.nested,
    memoryBytes: guest.memoryMiB * 2 ** 20,
    kernel: file('vmlinuz'),
    modules: [file(guest.initramfs)],
    commandLine: ['console=ttyS0', 'quiet', 'cryptomgr.notests', ...guest.words].join(' '),
    serial: [{ write }],
    clock: { kind: 'virtual', shift: 0, sleep: false },
    reboot: false,
    jit: jit === 'on' || (jit !== 'off' && jit),
    ...(dropSeed === undefined ? {} : { drops: { seed: dropSeed, ...(dropEvery === undefined ? {} : { every: dropEvery }) } }),
    ...(evictSeed === undefined ? {} : { tlb: { evictSeed } }),
  };
}
