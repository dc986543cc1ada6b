import { describe, expect, it } from 'vitest';
import { formatStale } from '../src/index.js';
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

  it.each(FORMATS.map((format) => [format.name, format] as const))('%s, evicting at random', (_name, format) => {
    const evictions = new Random(5);
    const kernel = new Kernel(format, new Random(99), 4, { evict: () => evictions.bits() });
    for (let i = 0; i < STEPS / 4; i++) kernel.step();
    kernel.checkBank();
    expect(kernel.hits).toBeGreaterThan(STEPS / 10);
  });

  it.each(FORMATS.map((format) => [format.name, format] as const))('%s, judged by the sanitizer: it has nothing to report', (_name, format) => {
    const reports: string[] = [];
    const kernel = new Kernel(format, new Random(123), 4, { sanitize: { report: (stale) => reports.push(formatStale(stale)) } });
    for (let i = 0; i < STEPS / 8; i++) kernel.step();
    expect(reports).toEqual([]);
    expect(kernel.walks).toBeGreaterThan(STEPS / 4);
  });
});
