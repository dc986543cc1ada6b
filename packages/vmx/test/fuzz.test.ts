import { describe, expect, it } from 'vitest';
import { fuzzLaunches } from './fuzz.js';

const LAUNCHES = 1500;

describe('launches of random VMCSs', () => {
  it('always have the architectural answer', { timeout: 120_000 }, () => {
    const counts = fuzzLaunches(3, LAUNCHES, false);
    expect(counts.refused + counts.failed + counts.exited + counts.stopped).toBe(LAUNCHES);
    for (const kind of ['refused', 'failed', 'exited'] as const) expect(counts[kind], kind).toBeGreaterThan(50);
  });

  it('do so too when the region was edited behind the processor, so that no check was made', { timeout: 120_000 }, () => {
    const counts = fuzzLaunches(5, LAUNCHES, true);
    expect(counts.refused + counts.failed + counts.exited + counts.stopped).toBe(LAUNCHES);
    expect(counts.exited).toBeGreaterThan(50);
  });
});
