import { describe, expect, it } from 'vitest';
import { kernelImage, svmImage, vmxImage } from '../src/index.js';
import { runGuest, runOnQemu } from './run.js';

const TIMEOUT = 300_000;
const SUCCESS = { kind: 'exit', status: 1 };

/** What levels 2 to `last` print when the level below starts each of them twice. */
function levelLines(level: number, last: number): string[] {
  if (level === last) return ['hello from L' + level, 'took timer interrupts', 'ends'].map((text) => `[L${level}] ${text}`);
  const twice = [1, 2].flatMap(() => [`[L${level}] starts L${level + 1}`, ...levelLines(level + 1, last), `[L${level}] L${level + 1} has ended`]);
  return [`[L${level}] hypervisor: on`, ...twice, `[L${level}] exits`];
}
/** The report lines without their numbers. */
const shape = (lines: readonly string[]): string[] => lines.map((line) => line.replace(/ of L\d:.*/, ''));

/** Exits that a level saw, from its last report. */
function reported(lines: readonly string[], level: number): Record<string, number> {
  const line = lines.findLast((candidate) => candidate.startsWith(`[L${level}] exits of`)) ?? '';
  return Object.fromEntries([...line.matchAll(/ ([a-z]+) (\d+)/g)].slice(0).map((match) => [match[1] as string, Number(match[2])]));
}

it.each(['pc', 'q35', 'microvm', 'isapc'] as const)(
  'the kernel takes a page fault and timer interrupts on %s',
  { timeout: TIMEOUT },
  async (board) => {
    const { outcome, lines } = await runGuest(kernelImage(), 'max', { board });
    expect(outcome).toEqual(SUCCESS);
    expect(lines).toEqual(['Nestvm kernel: 64-bit mode', 'page faults: 1', 'timer ticks: 20', 'Nestvm kernel: done']);
  },
);

const vendors = [
  { name: 'SVM', image: svmImage, cpus: ['EPYC,svm=on', 'EPYC-Milan,svm=on', 'host,vendor=amd'] },
  { name: 'VMX', image: vmxImage, cpus: ['Haswell-noTSX-IBRS,vmx=on', 'Skylake-Server,vmx=on', 'host,vendor=intel'] },
];

describe.each(vendors)('$name', ({ image, cpus }) => {
  it.each(cpus)('L1, L2 and L3 on %s', { timeout: TIMEOUT }, async (cpu) => {
    const { outcome, lines, entries, failedEntries, exits } = await runGuest(image(), cpu);
    expect(shape(lines)).toEqual(levelLines(1, 3));
    expect(outcome).toEqual(SUCCESS);
    expect(failedEntries).toBe(0);
    // What the hypervisor in the guest counted is what the processor counted.
    const seen = reported(lines, 1);
    const { entry: _, ...byReason } = seen;
    const total = Object.values(exits).reduce((sum, value) => sum + value, 0);
    expect(total).toBe(entries);
    expect(total).toBe(Object.values(byReason).reduce((sum, value) => sum + value, 0) + (seen['entry'] as number));
    expect(reported(lines, 2)).toMatchObject({ cpuid: 6, call: 2 });
  });

  it('counts in L2, turns its extension off, and counts in L1', { timeout: TIMEOUT }, async () => {
    const { outcome, lines, failedEntries } = await runGuest(image({ levels: 2, program: 'count' }), cpus[0] as string);
    const counts = (level: number): string[] => Array.from({ length: 12 }, (_, i) => `[L${level}] counts ${i + 1}`);
    expect(shape(lines)).toEqual([
      '[L1] hypervisor: on',
      '[L1] starts L2',
      ...counts(2),
      '[L1] L2 has ended',
      '[L1] exits',
      '[L1] hypervisor: off',
      ...counts(1),
    ]);
    expect([outcome, failedEntries]).toEqual([SUCCESS, 0]);
  });

  it.each([8, 10, 11, 12])('timer interrupts at other places: 2^%i ns for an instruction', { timeout: TIMEOUT }, async (shift) => {
    const { outcome, lines } = await runGuest(image(), cpus[0] as string, { shift });
    expect(shape(lines)).toEqual(levelLines(1, 3));
    expect(outcome).toEqual(SUCCESS);
    // While guests run, not only while they wait for interrupts.
    if (shift > 10) expect(reported(lines, 1)['intr']).toBeGreaterThan(0);
  });

  it('page tables of the hypervisor in the place of nested ones', { timeout: TIMEOUT }, async () => {
    const { outcome, lines, exits } = await runGuest(image({ paging: 'shadow' }), cpus[0] as string, { shift: 11 });
    expect(shape(lines)).toEqual(levelLines(1, 3));
    expect(outcome).toEqual(SUCCESS);
    // The guest reads and writes CR3 when it begins.
    expect(Object.keys(exits).filter((name) => /CR|CONTROL_REGISTER/.test(name))).not.toEqual([]);
  });

  it('four levels', { timeout: TIMEOUT }, async () => {
    const { outcome, lines } = await runGuest(image({ levels: 4 }), cpus[0] as string);
    expect(shape(lines)).toEqual(levelLines(1, 4));
    expect(outcome).toEqual(SUCCESS);
  });
});

it('a processor without the extension is told', { timeout: TIMEOUT }, async () => {
  for (const image of [svmImage(), vmxImage()]) {
    const { outcome, lines } = await runGuest(image, 'qemu64');
    expect(lines).toEqual(['[L1] hypervisor: this processor does not offer it']);
    expect(outcome).toEqual({ kind: 'exit', status: 5 });
  }
});

it('QEMU (where present) prints the same', { timeout: TIMEOUT * 3 }, async () => {
  const kernel = runOnQemu(kernelImage());
  if (kernel === undefined) return;
  expect(kernel).toEqual((await runGuest(kernelImage(), 'EPYC')).lines);
  // Not the counts: its timer ticks when it likes.
  for (const levels of [2, 3, 4])
    expect(shape((await runGuest(svmImage({ levels }), 'EPYC,svm=on')).lines)).toEqual(shape(runOnQemu(svmImage({ levels })) ?? []));
  expect(shape(runOnQemu(svmImage({ paging: 'shadow' })) ?? [])).toEqual(levelLines(1, 3));
});
