import { describe, expect, it } from 'vitest';
import { categories, compare, formatCategories, type Run } from '../src/index.js';

const sum = '00000000deadbeef';

const runOf = (bootMs: number, cpuMs: Record<string, number>): Run => ({
  boot: { wallMs: bootMs, cpuMs: bootMs },
  tests: new Map(Object.entries(cpuMs).map(([name, ms]) => [name, { host: { wallMs: ms, cpuMs: ms }, guestSeconds: 1, checksum: sum }])),
  complete: true,
});

const tableOf = (own: Run, peer?: Run, instructions?: ReadonlyMap<string, number>): string => {
  const peers = peer === undefined ? [] : [{ name: 'QEMU TCG', runs: [peer], peakBytes: 1 }];
  return formatCategories(compare([{ name: 'Nestvm', runs: [own], peakBytes: 1 }, ...peers], instructions));
};

describe('the table by category', () => {
  const text = tableOf(
    runOf(3000, { integer: 100, muldiv64: 100, chase: 1000, 'sse-integer': 10, odd: 50 }),
    runOf(2000, { integer: 400, muldiv64: 100, chase: 300, 'sse-integer': 29, odd: 100 }),
  );

  it('has geometric means of how many times as fast, with the goal and whether it is met', () => {
    expect(text).toContain('| integer | 2.00 | ≥ 1 | yes | integer 4.00, muldiv64 1.00 |');
    expect(text).toContain('| memory | 0.30 | ≥ 1 | no | chase 0.30 |');
    expect(text).toContain('| SSE | 2.90 | ≥ 3 | no |');
  });

  it('counts the boot among whole applications, leaves out what was not measured and keeps what it does not know', () => {
    expect(text).toMatch(/\| whole applications \| 0.67 \| ≥ 0.67 \(.*\) \| yes \| boot 0.67 \|/);
    expect(text).not.toContain('strings');
    expect(text).toContain('| others | 2.00 |');
  });

  it('names the slowest line', () => {
    expect(text).toContain('Slowest line: chase, 0.30 ×');
    expect(text).toContain('met: no');
  });

  it('measures strings by bytes, where instructions were counted', () => {
    // 1.125 instructions for two bytes: 1.8 and 0.72 thousand million in 100 ms are 32 and 12.8 GB/s.
    const [own, peer] = [runOf(1, { repmovs: 100, repstos: 100 }), runOf(1, { repmovs: 3000, repstos: 3000 })];
    const counted = new Map([
      ['repmovs', 1.8e9],
      ['repstos', 0.72e9],
    ]);
    expect(tableOf(own, peer, counted)).toMatch(/\| strings \| 30.00 \| ≥ 15 GB\/s \(.*\): 20.2 GB\/s \| yes \|/);
    expect(tableOf(own, peer, new Map([['repmovs', 0.4e9]]))).toMatch(/: 7.1 GB\/s \| no \|/);
    expect(tableOf(own, peer)).toMatch(/\| strings \| 30.00 \| ≥ 15 GB\/s \(.*\) \| {2}\|/);
  });

  it('is empty without a peer', () => {
    expect(tableOf(runOf(1, { integer: 1 }))).toBe('');
  });
});

it('no test is in two categories', () => {
  const tests = categories.flatMap((category) => category.tests);
  expect(new Set(tests).size).toBe(tests.length);
});
