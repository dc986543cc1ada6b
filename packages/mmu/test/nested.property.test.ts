import { describe, expect, it } from 'vitest';
import type { NestedTally } from './nested-farm.js';
import { NestedFarm } from './nested-farm.js';
import { Random } from './random.js';

const STEPS = 550_000;
const WIDTHS = [36, 40, 52];

function run(kind: 'ept' | 'npt', seed: number): NestedTally {
  const random = new Random(seed);
  const narrowStages = kind === 'ept' ? [false] : [false, false, true];
  const farms = WIDTHS.flatMap((width) =>
    narrowStages.flatMap((narrowStage) => [true, false, false].map((narrow) => new NestedFarm(kind, narrow, narrowStage, width, random))),
  );
  const tally: NestedTally = {
    ok: 0,
    pageFault: 0,
    violation: 0,
    table: 0,
    misconfiguration: 0,
    log: 0,
    subPage: 0,
    cached: 0,
    overlap: 0,
    shadow: 0,
  };
  for (let i = 0; i < STEPS; i++) random.pick(farms).step(tally);
  return tally;
}

describe('random tables of both stages against the naive walkers', () => {
  it.each([
    ['ept', 31_337],
    ['npt', 4_711],
  ] as const)('%s', { timeout: 900_000 }, (kind, seed) => {
    const tally = run(kind, seed);
    const accesses = tally.ok + tally.pageFault + tally.violation + tally.misconfiguration + tally.log + tally.subPage;
    console.log(`${kind}: ${accesses} accesses in ${STEPS} configurations agree: ${JSON.stringify(tally)}`);
    expect(accesses).toBeGreaterThan(STEPS * 1.5);
    expect(Math.min(tally.ok, tally.pageFault, tally.violation, tally.table, tally.cached, tally.shadow * 20)).toBeGreaterThan(STEPS / 50);
    if (kind === 'ept') expect(Math.min(tally.misconfiguration, tally.log, tally.subPage)).toBeGreaterThan(STEPS / 2000);
  });
});
