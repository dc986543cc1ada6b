/** Our own guests, with the JIT off, on, forced and mixed: with `-icount` each is the same run, at every checkpoint. */
import { describe, expect, it } from 'vitest';
import { type GuestImage, kernelImage, svmImage, svmPairImage, vmxImage, vmxPairImage } from '../../packages/guests/src/index.js';
import { parseCpu } from '../../packages/isa/src/models/index.js';
import { createMachine, type MachineOptions, type MachineOutcome } from '../../packages/machine/src/index.js';
import { type Digest, differences, digestOf } from './digest.js';

const TIMEOUT = 300_000;

type Variant = Pick<MachineOptions, 'jit' | 'codeBytes' | 'drops' | 'tlb'>;
/** Less than what the larger of the guests make when all of it is compiled. */
const LITTLE_ROOM = 1 << 20;
/** By the slices between two drops. */
const variants = (every: number): Readonly<Record<string, Variant>> => ({
  force: { jit: 'force' },
  'force, in little room': { jit: 'force', codeBytes: LITTLE_ROOM },
  'mixed, with drops': { jit: 'mixed', drops: { seed: 5, every }, tlb: { evictSeed: 6 } },
  'off, with drops': { jit: false, drops: { seed: 3, every } },
});

interface Trace {
  readonly outcome: MachineOutcome;
  readonly text: string;
  readonly endNs: number;
  readonly digests: readonly Digest[];
  readonly regions: number;
  readonly drops: number;
  readonly evicted: number;
  /** Most memory of compiled code at a checkpoint. */
  readonly held: number;
}

/** Runs a guest to its end, by way of instants that lie `everyNs` apart. */
async function trace(image: GuestImage, cpu: string, shift: number, variant: Variant, everyNs: number): Promise<Trace> {
  let text = '';
  const processors = /pair/.test(image.name) ? 2 : 1;
  const machine = createMachine({
    board: processors > 1 ? 'q35' : 'pc',
    cpu: parseCpu(cpu, { sockets: 1, cores: processors, threads: 1 }, { nested: true }),
    nested: true,
    memoryBytes: Math.max(image.memoryBytes, 16 << 20),
    kernel: { name: image.name, bytes: image.bytes },
    serial: [{ write: (byte) => void (text += String.fromCharCode(byte)) }],
    debugExit: { iobase: 0xf4, iosize: 4 },
    reboot: false,
    clock: { kind: 'virtual', shift, sleep: false },
    ...variant,
  });
  const checkpoint = machine.clock.createTimer('checkpoint', () => machine.stop());
  const digests: Digest[] = [];
  let held = 0;
  for (let at = everyNs; ; at += everyNs) {
    checkpoint.arm(at);
    const outcome = await machine.run();
    digests.push(digestOf(machine));
    held = Math.max(held, machine.jit?.heldBytes ?? 0);
    if (outcome.kind === 'stopped') continue;
    const { translations = 0, compiled = 0, decoded = 0 } = machine.drops?.counters ?? {};
    const { regions = 0, evicted = 0 } = machine.jit?.counters ?? {};
    return { outcome, text, endNs: machine.clock.nowNs(), digests, regions, evicted, held, drops: translations + compiled + decoded };
  }
}

describe.each([
  ['a kernel', kernelImage, 'max', 0, 70e6],
  ['three levels on VMX, with a tick every 2048 ns', vmxImage, 'host,vendor=intel', 11, 250e6],
  ['two processors on VMX', () => vmxPairImage({ rounds: 4, exits: 30 }), 'host,vendor=intel', 3, 500e3],
  ['three levels on SVM, with a tick every 2048 ns', svmImage, 'EPYC,svm=on', 11, 150e6],
  ['two processors on SVM', () => svmPairImage({ rounds: 4, exits: 30 }), 'host,vendor=amd', 3, 500e3],
] as const)('%s', (_, image, cpu, shift, everyNs) => {
  it('is the same run, compiled or not, whatever is dropped', { timeout: TIMEOUT }, async () => {
    const reference = await trace(image(), cpu, shift, { jit: false }, everyNs);
    expect(reference.outcome).toEqual({ kind: 'exit', status: 1 });
    expect(reference.digests.length).toBeGreaterThan(1);
    let wanted = 0;
    for (const [name, variant] of Object.entries(variants(4))) {
      const found = await trace(image(), cpu, shift, variant, everyNs);
      const { outcome, text, endNs, regions, drops, evicted, held } = found;
      expect([name, outcome, text, endNs]).toEqual([name, reference.outcome, reference.text, reference.endNs]);
      const different = found.digests.map((digest, i) => differences(digest, reference.digests[i] ?? {}));
      expect([name, ...different]).toEqual([name, ...reference.digests.map(() => [])]);
      if (variant.jit === 'force') expect(regions).toBeGreaterThan(20);
      wanted = Math.max(wanted, held);
      if (variant.codeBytes) {
        if (wanted > variant.codeBytes) expect(evicted).toBeGreaterThan(0);
        expect(held).toBeLessThan(1.25 * variant.codeBytes);
      }
      if (variant.drops) expect(drops).toBeGreaterThan(0);
    }
  });
});
