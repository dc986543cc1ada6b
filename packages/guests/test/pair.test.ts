import { expect, it } from 'vitest';
import { svmPairImage, vmxPairImage } from '../src/index.js';
import { pairMachine } from './run.js';

const ROUNDS = 12;
const EXITS = 50;

it.each([
  ['VMX', vmxPairImage, 'Skylake-Server,vmx=on', 'CPUID'],
  ['VMX', vmxPairImage, 'host,vendor=intel', 'CPUID'],
  ['SVM', svmPairImage, 'EPYC,svm=on,x2apic=on', 'CPUID'],
  ['SVM', svmPairImage, 'host,vendor=amd', 'CPUID'],
] as const)('%s: two processors exchange their guests', { timeout: 300_000 }, async (_name, image, cpu, exit) => {
  const { machine, lines } = pairMachine(image({ rounds: ROUNDS, exits: EXITS }), cpu);
  expect(await machine.run()).toEqual({ kind: 'exit', status: 1 });
  expect(lines()).toEqual(['two processors, two guests', `guest 0 counts ${ROUNDS * EXITS}`, `guest 1 counts ${ROUNDS * EXITS}`]);
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
