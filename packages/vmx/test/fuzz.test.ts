import { describe, expect, it } from 'vitest';
import { fuzzLaunches } from './fuzz.js';

/** How many VMCSs of each kind; `VMX_FUZZ=1000000` for the long run. */
const LAUNCHES = Number(process.env['VMX_FUZZ'] ?? 1500);
const TIMEOUT_MS = 120_000 + LAUNCHES * 10;

describe('launches of random VMCSs', () => {
  it('always have the architectural answer', { timeout: TIMEOUT_MS }, () => {
    const counts = fuzzLaunches(3, LAUNCHES, false);
    expect(counts.refused + counts.failed + counts.exited + counts.stopped).toBe(LAUNCHES);
    for (const kind of ['refused', 'failed', 'exited'] as const) expect(counts[kind], kind).toBeGreaterThan(50);
  });

  it('do so too when the region was edited behind the processor, so that no check was made', { timeout: TIMEOUT_MS }, () => {
    const counts = fuzzLaunches(5, LAUNCHES, true);
    expect(counts.refused + counts.failed + counts.exited + counts.stopped).toBe(LAUNCHES);
    expect(counts.exited).toBeGreaterThan(50);
  });
});
