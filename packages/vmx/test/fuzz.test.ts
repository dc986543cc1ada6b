import { describe, expect, it } from 'vitest';
import { fuzzLaunches, fuzzWrites, type LaunchCounts } from './fuzz/launches.js';
import { report } from './fuzz/machine.js';
import { fuzzPointers } from './fuzz/pointers.js';
import { fuzzTables } from './fuzz/tables.js';

/** How many rounds of each kind; `VMX_FUZZ=1000000` for the long run. `VMX_SEED` for other numbers. */
const ROUNDS = Number(process.env['VMX_FUZZ'] ?? 1500);
const SEED = Number(process.env['VMX_SEED'] ?? 3);
const timeout = 120_000 + ROUNDS * 10;

/** Runs and reports; the sum of the four ends that a launch can have must be all rounds. */
function launches(what: string, fuzz: () => LaunchCounts): LaunchCounts {
  const counts = report(what, ROUNDS, fuzz);
  expect(counts.refused + counts.failed + counts.exited + counts.stopped).toBe(ROUNDS);
  return counts;
}

describe('the architectural answer, and never an exception of the emulator', () => {
  it('for launches of random VMCSs', { timeout }, () => {
    const counts = launches('random VMCSs', () => fuzzLaunches(SEED, ROUNDS, false));
    for (const kind of ['refused', 'failed', 'exited'] as const) expect(counts[kind], kind).toBeGreaterThan(50);
  });

  it('for VMCS pages edited behind the processor, so that no check was made', { timeout }, () => {
    const counts = launches('edited VMCS pages', () => fuzzLaunches(SEED + 2, ROUNDS, true));
    expect(counts.exited).toBeGreaterThan(50);
  });

  it('for VMWRITE of random values to every field, then VMLAUNCH', { timeout }, () => {
    const counts = launches('VMWRITEs', () => fuzzWrites(SEED + 4, ROUNDS));
    for (const kind of ['refused', 'failed', 'exited'] as const) expect(counts[kind], kind).toBeGreaterThan(50);
  });

  it('for VMXON, VMPTRLD, VMCLEAR, INVEPT and INVVPID of garbage', { timeout }, () => {
    const counts = report('pointers', ROUNDS, () => fuzzPointers(SEED + 6, ROUNDS));
    for (const seen of ['vmxon fault', 'vmxon invalid', 'vmptrld 9', 'vmptrld 11', 'vmclear 2', 'invept 28', 'invvpid 28'])
      expect(counts[seen] ?? 0, seen).toBeGreaterThan(0);
  });

  it.each([
    ['vmxon', 'without CR4.VMXE, or with a wrong revision', ['vmxon fault', 'vmxon invalid', 'vmxon 15', 'vmxon succeed']],
    ['vmptrld', 'of garbage', ['vmptrld fault', 'vmptrld invalid', 'vmptrld 9', 'vmptrld 10', 'vmptrld 11', 'vmptrld succeed']],
  ] as const)('for %s %s', { timeout }, (name, what, answers) => {
    const counts = report(`${name} ${what}`, ROUNDS, () => fuzzPointers(SEED + 10, ROUNDS, name));
    for (const seen of answers) expect(counts[seen] ?? 0, seen).toBeGreaterThan(0);
  });

  it('for EPT roots in devices or in nothing at all', { timeout }, () => {
    const counts = launches('EPT roots', () => fuzzTables(SEED + 12, ROUNDS, true));
    for (const seen of ['EPT_VIOLATION', 'EPT_MISCONFIGURATION'] as const) expect(counts[seen] ?? 0, seen).toBeGreaterThan(50);
  });

  it('for EPT tables that loop, lead to devices or are garbage', { timeout }, () => {
    const counts = launches('EPT tables', () => fuzzTables(SEED + 8, ROUNDS));
    for (const seen of ['EPT_VIOLATION', 'EPT_MISCONFIGURATION', 'CPUID']) expect(counts[seen] ?? 0, seen).toBeGreaterThan(50);
  });
});
