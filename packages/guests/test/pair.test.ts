import { parseCpu } from '@nestvm/isa/models';
import { createMachine } from '@nestvm/machine';
import { expect, it } from 'vitest';
import { svmPairImage, vmxPairImage } from '../src/index.js';

const ROUNDS = 12;
const EXITS = 50;

it.each([
  ['VMX', vmxPairImage, 'Skylake-Server,vmx=on', 'CPUID'],
  ['VMX', vmxPairImage, 'host,vendor=intel', 'CPUID'],
  ['SVM', svmPairImage, 'EPYC,svm=on,x2apic=on', 'CPUID'],
  ['SVM', svmPairImage, 'host,vendor=amd', 'CPUID'],
] as const)('%s: two processors exchange their guests', { timeout: 120_000 }, async (_name, image, cpu, exit) => {
  let text = '';
  const guest = image({ rounds: ROUNDS, exits: EXITS });
  const machine = createMachine({
    board: 'q35',
    clock: { kind: 'virtual', shift: 3, sleep: false },
    cpu: parseCpu(cpu, { sockets: 1, cores: 2, threads: 1 }, { nested: true }),
    nested: true,
    memoryBytes: 16 << 20,
    kernel: { name: guest.name, bytes: guest.bytes },
    serial: [{ write: (byte) => void (text += String.fromCharCode(byte)) }],
    debugExit: { iobase: 0xf4, iosize: 4 },
    reboot: false,
  });
  expect(await machine.run()).toEqual({ kind: 'exit', status: 1 });
  expect(text.split('\r\n').filter((line) => line !== '')).toEqual([
    'two processors, two guests',
    `guest 0 counts ${ROUNDS * EXITS}`,
    `guest 1 counts ${ROUNDS * EXITS}`,
  ]);
  for (const { virtualization } of machine.cpus) {
    const { counters } = virtualization!;
    expect([counters.entries, counters.failedEntries]).toEqual([ROUNDS * EXITS, 0]);
    const exits: Record<string, number> = {};
    counters.exits.forEach((count, reason) => {
      if (count > 0) exits[virtualization!.exitName(reason)] = count;
    });
    expect(exits).toEqual({ [exit]: ROUNDS * EXITS });
  }
});
