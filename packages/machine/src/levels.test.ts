import { NestedLedger, type Vcpu } from '@nestvm/cpu';
import { describe, expect, it } from 'vitest';
import { levelCounts } from './levels.js';

/** A vCPU as far as the counts look at it. */
const cpuWith = (index: number, exits: readonly number[], entries: number): Vcpu => {
  const ledger = new NestedLedger('vmcs');
  ledger.at(0x1000 * (index + 1)).entries = entries;
  const counters = { entries, failedEntries: index, exits: Float64Array.from(exits) };
  return { index, virtualization: { counters, ledger, exitName: (reason: number) => `reason ${reason}` } } as unknown as Vcpu;
};

describe('levelCounts', () => {
  it('is all zero without an extension', () => {
    expect(levelCounts([{ index: 0, virtualization: null } as Vcpu])).toEqual({ entries: 0, failedEntries: 0, exits: [], contexts: [] });
  });

  it('adds vCPUs up, the most frequent exit first', () => {
    const counts = levelCounts([cpuWith(0, [0, 5, 1], 6), cpuWith(1, [2, 0, 7], 9)]);
    expect(counts).toMatchObject({ entries: 15, failedEntries: 1 });
    expect(counts.exits).toEqual([
      { reason: 'reason 2', count: 8 },
      { reason: 'reason 1', count: 5 },
      { reason: 'reason 0', count: 2 },
    ]);
    expect(counts.contexts.map(({ pa, cpu, entries }) => [pa, cpu, entries])).toEqual([
      [0x1000, 0, 6],
      [0x2000, 1, 9],
    ]);
  });
});
