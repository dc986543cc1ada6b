import { vmxImage } from '@nestvm/guests';
import { createMachine } from '@nestvm/machine';
import { createMemorySink, saveSnapshot } from '@nestvm/migration';
import { describe, expect, it } from 'vitest';
import { fileOf, nestvm } from './spawn.js';

const TIMEOUT = 300_000;
const CPU = 'Skylake-Server,vmx=on';
const image = vmxImage({ levels: 2, program: 'count' });

/** A snapshot of the machine that `run` makes of {@link options}, whose guest has printed `line`; taken below the rule about active L2s. */
async function snapshotAt(line: string): Promise<Uint8Array> {
  let text = '';
  const machine = createMachine({
    board: 'pc',
    cpu: CPU,
    nested: true,
    memoryBytes: 32 << 20,
    kernel: { name: image.name, bytes: image.bytes },
    serial: [
      {
        write: (byte) => {
          text += String.fromCharCode(byte);
          if (text.endsWith(line)) machine.stop();
        },
      },
    ],
    debugExit: { iobase: 0xf4, iosize: 4 },
    clock: { kind: 'virtual', shift: 0, sleep: false },
  });
  expect(await machine.run()).toEqual({ kind: 'stopped' });
  const sink = createMemorySink();
  await saveSnapshot({ ...machine.migratable, nested: { inspect: () => [] } }, sink, { compression: 'none' });
  return sink.bytes();
}

const options = (cpu: string, ...more: string[]): string[] => [
  'run',
  '--nested',
  '-no-reboot',
  ...Object.entries({
    '-M': 'pc',
    '-cpu': cpu,
    '-m': '32M',
    '-kernel': fileOf(image.bytes),
    '-serial': 'stdio',
    '-display': 'none',
    '-device': 'isa-debug-exit,iobase=0xf4,iosize=0x4',
    '-icount': 'shift=0,sleep=off',
  }).flat(),
  ...more,
];

describe('what is refused at load, and with which status', () => {
  it('a snapshot that claims an active L2: status 3, with the explanation; one in which the L2 is over goes on', { timeout: TIMEOUT }, async () => {
    const active = fileOf(await snapshotAt('[L2] counts 1\r\n'));
    for (const option of [
      ['-loadvm', active],
      ['-incoming', `file:${active}`],
    ]) {
      const { status, out, err } = await nestvm(...options(CPU, ...option));
      expect([status, out]).toEqual([3, '']);
      expect(err).toMatch(/a nested guest \(L2\) is active[^]*VMCS at 0x[0-9a-f]+, resident[^]*ends when/i);
    }
    const over = fileOf(await snapshotAt('[L1] counts 7\r\n'));
    const { status, out } = await nestvm(...options(CPU, '-loadvm', over));
    expect([status, out.endsWith('[L1] counts 12\r\n')]).toEqual([1, true]);
  });

  it('a machine without the features, the memory or the devices: status 1, and what differs', { timeout: TIMEOUT }, async () => {
    const file = fileOf(await snapshotAt('hypervisor: on\r\n'));
    const refusals = [
      [options('Haswell,vmx=on', '-loadvm', file), /-cpu: the snapshot has Skylake-Server.*this machine Haswell/],
      [options('Skylake-Server,vmx=off', '-loadvm', file), /CPU features: the snapshot has vmx, .*which this machine has not/],
      [options(`${CPU},x2apic=off`, '-loadvm', file), /CPU features: the snapshot has x2apic, which this machine has not\n/],
      [options(CPU, '-loadvm', file, '-smp', '2'), /-smp: the snapshot has 1 × 1 × 1, this machine/],
      [options(CPU, '-loadvm', file, '-device', 'virtio-rng-pci'), /virtio: the snapshot has/],
      [options(CPU, '-loadvm', file, '-m', '48M'), /-m: the snapshot has 33554432, this machine 50331648/],
    ] as const;
    for (const [args, pattern] of refusals) {
      const { status, err } = await nestvm(...args);
      expect([status, err]).toEqual([1, expect.stringMatching(pattern)]);
    }
  });
});
