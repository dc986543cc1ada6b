import { BenchError } from './errors.js';
import type { Measurement, Run, Usage } from './log.js';
import { tableLines } from './markdown.js';

/** All runs of one emulator. */
export interface Subject {
  readonly name: string;
  readonly runs: readonly Run[];
  /** Peak resident memory over its runs, in bytes. */
  readonly peakBytes: number;
}

/** The best of several runs: noise only ever adds. */
export interface Best {
  readonly wallMs: number;
  readonly cpuMs: number;
  readonly guestSeconds: number;
  readonly checksum: string;
}

/** One line of the comparison. */
export interface Row {
  readonly test: string;
  /** Per subject, in their order; null where it did not get that far. */
  readonly results: readonly (Best | null)[];
  /** CPU time of the first subject in terms of the second's; null without a peer. */
  readonly ratio: number | null;
  /** Instructions that the guest executes in it, or null when nobody counted. */
  readonly instructions: number | null;
}

/** The whole comparison. */
export interface Comparison {
  readonly subjects: readonly Subject[];
  readonly rows: readonly Row[];
  /** CPU time until the guest's first process runs, per subject, in milliseconds. */
  readonly boot: readonly (Usage | null)[];
  /** Geometric mean of the ratios; null without a peer. */
  readonly geometricMean: number | null;
}

/** Geometric mean; null of nothing. */
export function geometricMean(values: readonly number[]): number | null {
  if (values.length === 0) return null;
  return Math.exp(values.reduce((sum, value) => sum + Math.log(value), 0) / values.length);
}

function bestOf(measurements: readonly Measurement[]): Best | null {
  if (measurements.length === 0) return null;
  const least = (pick: (measurement: Measurement) => number): number => Math.min(...measurements.map(pick));
  return {
    wallMs: least((m) => m.host.wallMs),
    cpuMs: least((m) => m.host.cpuMs),
    guestSeconds: least((m) => m.guestSeconds),
    checksum: measurements[0].checksum,
  };
}

function bestBoot(subject: Subject): Usage | null {
  const boots = subject.runs.map((run) => run.boot).filter((boot) => boot !== null);
  if (boots.length === 0) return null;
  return { wallMs: Math.min(...boots.map((boot) => boot.wallMs)), cpuMs: Math.min(...boots.map((boot) => boot.cpuMs)) };
}

function checkSums(test: string, subjects: readonly Subject[]): void {
  const seen = new Map<string, string>();
  for (const subject of subjects) {
    for (const run of subject.runs) {
      const sum = run.tests.get(test)?.checksum;
      if (sum !== undefined && !seen.has(sum)) seen.set(sum, subject.name);
    }
  }
  if (seen.size <= 1) return;
  const list = [...seen].map(([sum, name]) => `${name} ${sum}`).join(', ');
  throw new BenchError(
    'checksum',
    `${test} computed different results (${list}): one of them executes instructions wrongly; run it alone under the vectors first.`,
  );
}

/**
 * Compares subjects: the first with the second, where there is one.
 * @param instructions how many instructions each test executes.
 * @throws BenchError `checksum` when two runs did not compute the same.
 */
export function compare(subjects: readonly Subject[], instructions: ReadonlyMap<string, number> = new Map()): Comparison {
  const tests = [...new Set(subjects.flatMap((subject) => subject.runs.flatMap((run) => [...run.tests.keys()])))];
  const rows = tests.map((test): Row => {
    checkSums(test, subjects);
    const results = subjects.map((subject) => bestOf(subject.runs.map((run) => run.tests.get(test)).filter((m) => m !== undefined)));
    const [own, peer] = results;
    return { test, results, ratio: own && peer ? own.cpuMs / Math.max(peer.cpuMs, 0.01) : null, instructions: instructions.get(test) ?? null };
  });
  const ratios = rows.map((row) => row.ratio).filter((ratio) => ratio !== null);
  return { subjects, rows, boot: subjects.map(bestBoot), geometricMean: geometricMean(ratios) };
}

const seconds = (ms: number): string => (ms / 1000).toFixed(3);
const mips = (instructions: number | null, result: Best | null): string =>
  instructions === null || !result ? '–' : (instructions / (Math.max(result.cpuMs, 0.01) * 1000)).toFixed(0);

/** The comparison as a table in Markdown. */
export function formatMarkdown(comparison: Comparison): string {
  const { subjects, rows, boot } = comparison;
  const head = ['test', ...subjects.flatMap(({ name }) => [`${name} CPU s`, `${name} wall s`, `${name} MIPS`]), 'M instructions', 'ratio'];
  const body = rows.map(({ test, results, ratio, instructions }) => [
    test,
    ...results.flatMap((result) => [result ? seconds(result.cpuMs) : '–', result ? seconds(result.wallMs) : '–', mips(instructions, result)]),
    instructions === null ? '–' : (instructions / 1e6).toFixed(1),
    ratio === null ? '–' : ratio.toFixed(2),
  ]);
  const [ownBoot, peerBoot] = boot;
  const bootRatio = ownBoot && peerBoot ? (ownBoot.cpuMs / peerBoot.cpuMs).toFixed(2) : '–';
  body.push([
    'boot to the first process',
    ...boot.flatMap((usage) => [usage ? seconds(usage.cpuMs) : '–', usage ? seconds(usage.wallMs) : '–', '']),
    '',
    bootRatio,
  ]);
  body.push(['peak memory, MiB', ...subjects.flatMap(({ peakBytes }) => [(peakBytes / 1048576).toFixed(0), '', '']), '', '']);
  const lines = tableLines(head, body);
  if (comparison.geometricMean !== null)
    lines.push(
      '',
      `Geometric mean of the ratios: **${comparison.geometricMean.toFixed(2)}** (CPU time of ${subjects[0].name} ÷ that of ${subjects[1].name}; less is better).`,
    );
  return `${lines.join('\n')}\n`;
}

/** The comparison by the wall clock alone, as a table in Markdown: for subjects whose CPU time cannot be told, as that of a page in a browser. */
export function formatWallTable({ subjects, rows, boot }: Comparison): string {
  const ratios: number[] = [];
  const row = (name: string, walls: readonly (number | undefined)[]): string[] => {
    const [own, peer] = walls;
    const ratio = own !== undefined && peer !== undefined ? own / Math.max(peer, 0.01) : undefined;
    if (ratio !== undefined) ratios.push(ratio);
    return [name, ...walls.map((wall) => (wall === undefined ? '–' : seconds(wall))), ratio?.toFixed(2) ?? '–'];
  };
  const head = ['test', ...subjects.map(({ name }) => `${name} wall s`), 'ratio'];
  const wallMs = (usage: Usage | null): number | undefined => usage?.wallMs;
  const body = rows.map(({ test, results }) => row(test, results.map(wallMs)));
  // The mean is that of the tests, without the boot.
  const mean = geometricMean(ratios);
  const lines = tableLines(head, [...body, row('boot to the first process', boot.map(wallMs))]);
  if (mean !== null)
    lines.push('', `Geometric mean of the tests' ratios: **${mean.toFixed(2)}** (${subjects[0].name} ÷ ${subjects[1].name}; less is better).`);
  return `${lines.join('\n')}\n`;
}
