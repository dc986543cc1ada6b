import { describe, expect, it } from 'vitest';
import { BenchError, formatExits, formatLevels, type LevelRuns, LevelsReader } from '../src/index.js';

const sum = '00000000deadbeef';

/** A console on which each test takes the given milliseconds, and printing a test's lines one. */
function runOf(levels: readonly { integer: number; exits?: number; sum?: string }[]): LevelRuns {
  let now = 0;
  let level = 1;
  const reader = new LevelsReader(() => ({ wallMs: now, cpuMs: now }));
  const test = (name: string, ms: number, checksum: string): void => {
    reader.push(`BENCH-START ${name}\nBEN`);
    now += ms;
    reader.push(`CH ${name} ${level === 1 ? 0.5 : 0.6} ${checksum}\n`);
  };
  levels.forEach(({ integer, exits, sum: own = sum }, i) => {
    level = i + 1;
    reader.push(`hello from L${level}, up 1.00 s\n`);
    test('nothing', 1, '0000000000000000');
    test('integer', integer + 1, own);
    reader.push('BENCH-END\n');
    if (exits !== undefined) test('exit-cpuid', exits, '00000000000003e8');
  });
  return reader.finish();
}

describe('a nested run', () => {
  it('is told apart by level', () => {
    const run = runOf([{ integer: 100 }, { integer: 104 }]);
    expect([...run.keys()]).toEqual([1, 2]);
    expect(run.get(2)?.tests.get('integer')?.host.cpuMs).toBe(105);
    expect(run.get(2)?.complete).toBe(true);
  });

  it('becomes ratios without the cost of the lines, from the best of the runs, and microseconds of exits', () => {
    const runs = [
      runOf([{ integer: 100, exits: 20 }, { integer: 104, exits: 900 }, { integer: 150 }]),
      runOf([{ integer: 110, exits: 25 }, { integer: 102, exits: 800 }, { integer: 120 }]),
    ];
    const text = formatLevels([{ name: 'SVM', runs }]);
    expect(text).toContain('| integer | 0.100 | 1.02 | 1.20 | 1.20 | 1.20 |');
    expect(text).toContain('| cpuid | 20.0 | 800.0 |');
    expect(text).toContain('- SVM, user code: L2 1.02 × L1, L3 1.20 × L1.');
    expect(text).not.toContain('nothing');
  });

  it('of exits alone is a table by kind and emulator, the best of the runs', () => {
    const text = formatExits([
      { name: 'SVM', runs: [runOf([{ integer: 100, exits: 12 }]), runOf([{ integer: 100, exits: 11 }])] },
      { name: 'QEMU', runs: [runOf([{ integer: 100 }])] },
    ]);
    expect(text).toBe('| exit of L2, µs of CPU | SVM | QEMU |\n| --- | ---: | ---: |\n| cpuid | 11.0 | – |\n');
  });

  it('says what is missing when a level did not come', () => {
    expect(formatLevels([{ name: 'SVM', runs: [runOf([{ integer: 100 }])] }])).toContain('| integer | 0.100 | – | – | – | – |');
  });

  it('is worth nothing when levels do not compute the same', () => {
    const runs = [runOf([{ integer: 100 }, { integer: 100, sum: '00000000deadbeee' }])];
    expect(() => formatLevels([{ name: 'SVM', runs }])).toThrow(BenchError);
  });
});
