import { describe, expect, it } from 'vitest';
import { FORMATS, Kernel } from './kernel.js';
import { Random } from './random.js';

const STEPS = 12_000;

describe('software that invalidates what it must never sees a stale translation', () => {
  it.each(FORMATS.flatMap((format) => [3, 16].map((banks) => [format.name, banks, format] as const)))('%s, %i banks', (name, banks, format) => {
    const kernel = new Kernel(format, new Random(77 + banks), banks);
    for (let i = 0; i < STEPS; i++) kernel.step();
    kernel.checkBank();
    console.log(`TLB coherence, ${name}, ${banks} banks: ${kernel.hits} hits and ${kernel.walks} walks agree over ${kernel.edits} edits`);
    expect(kernel.hits).toBeGreaterThan(STEPS / 2);
  });
});
