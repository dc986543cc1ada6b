import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseCpu } from '@nestvm/isa/models';
import { type BoardName, createMachine, type Machine, type MachineOptions, type MachineOutcome } from '@nestvm/machine';
import type { GuestImage } from '../src/index.js';

/** What a guest printed, and how it ended. */
export interface GuestRun {
  readonly outcome: MachineOutcome;
  readonly lines: readonly string[];
  /** Extensions' counters: VM entries, failed entries, and exits by name. */
  readonly entries: number;
  readonly failedEntries: number;
  readonly exits: Readonly<Record<string, number>>;
}

/** A machine for a guest, on the virtual clock; `options` are laid over what guests have in common. */
export function guestMachine(
  image: GuestImage,
  options: Pick<MachineOptions, 'board' | 'clock' | 'cpu' | 'jit'>,
): { machine: Machine; lines: () => string[] } {
  let text = '';
  const machine = createMachine({
    nested: true,
    memoryBytes: Math.max(image.memoryBytes, 16 << 20),
    kernel: { name: image.name, bytes: image.bytes },
    serial: [{ write: (byte) => void (text += String.fromCharCode(byte)) }],
    debugExit: { iobase: 0xf4, iosize: 4 },
    reboot: false,
    ...options,
  });
  return { machine, lines: () => text.split('\r\n').filter((line) => line !== '') };
}

/** A machine of two processors, for guests that use both. */
export const pairMachine = (image: GuestImage, cpu: string): ReturnType<typeof guestMachine> =>
  guestMachine(image, {
    board: 'q35',
    clock: { kind: 'virtual', shift: 3, sleep: false },
    cpu: parseCpu(cpu, { sockets: 1, cores: 2, threads: 1 }, { nested: true }),
  });

/** Runs a guest on Nestvm, where each instruction takes 2^shift ns. */
export async function runGuest(
  image: GuestImage,
  cpu: string,
  { board = 'pc', shift = 0 }: { board?: BoardName; shift?: number } = {},
): Promise<GuestRun> {
  const { machine, lines } = guestMachine(image, { board, cpu, clock: { kind: 'virtual', shift, sleep: false } });
  const outcome = await machine.run();
  const exits: Record<string, number> = {};
  const { virtualization } = machine.cpus[0]!;
  virtualization?.counters.exits.forEach((value, reason) => {
    if (value > 0) exits[virtualization.exitName(reason)] = value;
  });
  return {
    outcome,
    lines: lines(),
    entries: virtualization?.counters.entries ?? 0,
    failedEntries: virtualization?.counters.failedEntries ?? 0,
    exits,
  };
}

/** Runs a guest on QEMU's TCG; undefined where there is no QEMU. */
export function runOnQemu(image: GuestImage): readonly string[] | undefined {
  const folder = mkdtempSync(join(tmpdir(), 'nestvm-guest-'));
  try {
    const file = join(folder, 'image');
    writeFileSync(file, image.bytes);
    const device = 'isa-debug-exit,iobase=0xf4,iosize=0x4';
    const args = [
      '-accel',
      'tcg',
      '-cpu',
      'EPYC',
      '-M',
      'pc',
      '-m',
      '64M',
      '-kernel',
      file,
      '-display',
      'none',
      '-serial',
      'stdio',
      '-device',
      device,
    ];
    const result = spawnSync('qemu-system-x86_64', [...args, '-no-reboot', '-nodefaults'], { encoding: 'utf8', timeout: 600_000 });
    if (result.error !== undefined) return undefined;
    return result.stdout.split('\r\n').filter((line) => line !== '');
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
