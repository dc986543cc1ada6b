import { describe, expect, it } from 'vitest';
import { BenchError, ConsoleReader, compare, formatMarkdown, geometricMean, type Run } from '../src/index.js';

const sum = '00000000deadbeef';

function runOf(lines: string[], steps: number[]): Run {
  const times = [...steps];
  const reader = new ConsoleReader(() => {
    const ms = times.shift() ?? 0;
    return { wallMs: 2 * ms, cpuMs: ms };
  });
  const text = lines.join('\n');
  // In pieces, as a pipe delivers it.
  for (let at = 0; at < text.length; at += 7) reader.push(text.slice(at, at + 7));
  reader.push('\n');
  return reader.finish();
}

const listing = (checksum: string): string[] => [
  'SeaBIOS',
  'NESTVM-GUEST-READY 6.1 1.5',
  'BENCH-START integer',
  'BENCH integer 0.250000 ' + checksum,
  'BENCH-START gzip',
  'BENCH gzip 0.500000 ' + sum,
  'BENCH-END',
];

describe('ConsoleReader', () => {
  it('takes the time between the two lines of a test, however the text is cut', () => {
    const run = runOf(listing(sum), [1000, 1100, 1350, 1400, 2000]);
    expect(run.complete).toBe(true);
    expect(run.boot).toEqual({ wallMs: 2000, cpuMs: 1000 });
    expect(run.tests.get('integer')).toEqual({ host: { wallMs: 500, cpuMs: 250 }, guestSeconds: 0.25, checksum: sum });
    expect(run.tests.get('gzip')?.host.cpuMs).toBe(600);
  });

  it('takes the wall time up to the end of the work, and the CPU time up to the result, when the guest rests between them', () => {
    const lines = listing(sum);
    lines.splice(3, 0, 'BENCH-DONE integer');
    const run = runOf(lines, [1000, 1100, 1300, 1350, 1400, 2000]);
    expect(run.tests.get('integer')?.host).toEqual({ wallMs: 400, cpuMs: 250 });
    expect(run.tests.get('gzip')?.host).toEqual({ wallMs: 1200, cpuMs: 600 });
  });

  it('does not take for a time what came in one piece', () => {
    const reader = new ConsoleReader(() => ({ wallMs: 0, cpuMs: 0 }));
    reader.push(`${listing(sum).join('\n')}\n`);
    const run = reader.finish();
    expect(run.complete).toBe(true);
    expect(run.tests.size).toBe(0);
  });

  it('takes the least of a test that the guest runs more than once, and no two results of it', () => {
    const twice = [...listing(sum), ...listing(sum)];
    const run = runOf(twice, [1000, 1100, 1350, 1400, 2000, 3000, 3100, 3200, 3300, 4000]);
    expect(run.tests.get('integer')?.host).toEqual({ wallMs: 200, cpuMs: 100 });
    expect(run.tests.get('gzip')?.host.cpuMs).toBe(600);
    expect(() => runOf([...listing(sum), ...listing('0000000000000bad')], [])).toThrow(BenchError);
  });

  it('knows when the guest stopped half-way', () => {
    const run = runOf(listing(sum).slice(0, 3), [1000, 1100]);
    expect(run.complete).toBe(false);
    expect(run.tests.size).toBe(0);
  });
});

describe('compare', () => {
  const fast = runOf(listing(sum), [1000, 1100, 1200, 1200, 1300]);
  const slow = runOf(listing(sum), [3000, 3100, 3500, 3500, 4400]);

  it('takes the best run, the ratio of CPU times and their geometric mean', () => {
    const result = compare(
      [
        { name: 'a', runs: [slow, fast], peakBytes: 1 },
        { name: 'b', runs: [slow], peakBytes: 1 },
      ],
      new Map([['integer', 5e8]]),
    );
    expect(result.rows.map((row) => row.ratio)).toEqual([100 / 400, 100 / 900]);
    expect(result.geometricMean).toBeCloseTo(1 / 6);
    expect(result.boot[0]?.cpuMs).toBe(1000);
    expect(formatMarkdown(result)).toContain('| integer | 0.100 | 0.200 | 5000 | 0.400 | 0.800 | 1250 | 500.0 | 0.25 |');
  });

  it('refuses runs that computed different things', () => {
    const wrong = runOf(listing('0000000000000bad'), [1000, 1100, 1200, 1200, 1300]);
    expect(() =>
      compare([
        { name: 'a', runs: [fast], peakBytes: 1 },
        { name: 'b', runs: [wrong], peakBytes: 1 },
      ]),
    ).toThrow(BenchError);
  });

  it('does without a peer, and without a test that nobody finished', () => {
    const result = compare([{ name: 'a', runs: [fast], peakBytes: 1 }]);
    expect(result.geometricMean).toBeNull();
    expect(formatMarkdown(result)).toContain('| gzip |');
    expect(geometricMean([])).toBeNull();
  });
});
