import { describe, expect, it } from 'vitest';
import { formatSlices, SliceMeter } from '../src/index.js';

/** A run in which each level takes so many nanoseconds for an instruction, and as much again for every fifth slice, in which a hypervisor ran too. */
function runOf(levels: readonly { integer: number; chase: number }[]): SliceMeter {
  const meter = new SliceMeter();
  meter.note({ ns: 1e6, instructions: 1000, isWhole: true });
  for (const [i, each] of levels.entries()) {
    meter.push(`hello from L${i + 1}, up 1.00 s\n`);
    for (const test of ['integer', 'chase'] as const) {
      meter.push(`BENCH-START ${test}\nBEN`);
      for (let slice = 0; slice < 10; slice++) {
        const isWhole = slice % 5 > 0;
        // One in ten is a slow one for other reasons.
        const ns = each[test] * (isWhole ? 1000 : 2000) * (slice === 9 ? 3 : 1);
        meter.note({ ns, instructions: 1000, isWhole });
      }
      meter.push('CH-DONE\n');
      meter.push(`BENCH-DONE ${test}\n`);
      meter.note({ ns: 1e6, instructions: 1000, isWhole: true });
    }
  }
  return meter;
}

describe('slices of user code', () => {
  it('count for the test and the level that the console names, whole ones alone', () => {
    const meter = runOf([{ integer: 1.5, chase: 4 }]);
    expect(meter.tests).toEqual(['integer', 'chase']);
    expect(meter.of('integer', 1)).toEqual({ nsPerInstruction: 1.5, share: 0.8 });
    expect(meter.of('integer', 2)).toBeUndefined();
  });

  it('become ratios of the best runs, and goals', () => {
    const levels = [
      { integer: 1, chase: 4 },
      { integer: 1.01, chase: 4.2 },
      { integer: 1.08, chase: 4.8 },
    ];
    const slower = levels.map(({ integer, chase }) => ({ integer: 1.2 * integer, chase: 1.1 * chase }));
    const text = formatSlices([{ name: 'SVM', runs: [runOf(slower), runOf(levels)] }]);
    expect(text).toContain('| integer | 1.00 | 1.010 | 0.80 | 1.080 | 0.80 |');
    expect(text).toContain('- SVM, user-mode compute, goal at most 1.05: L2 1.010 × L1 (met), L3 1.080 × L1 (not met).');
    expect(text).toContain('- SVM, chase, goal at most 1.15: L2 1.050 × L1 (met), L3 1.200 × L1 (not met).');
    // The mean of seven and a slow one.
    expect(text).toContain('| chase | 5.00 |');
  });

  it('are missing where a level did not come', () => {
    const text = formatSlices([{ name: 'VMX', runs: [runOf([{ integer: 1, chase: 4 }])] }]);
    expect(text).toContain('| integer | 1.00 | – | – | – | – |');
    expect(text).not.toContain('goal');
  });
});
