import { tableLines } from './markdown.js';
import { type Comparison, geometricMean } from './report.js';

/** Tests of one kind, and what is wanted of them. */
export interface Category {
  readonly name: string;
  readonly tests: readonly string[];
  /** How many times as fast as the peer they are to be in the mean; undefined where nothing is asked. */
  readonly goal?: number;
  /** Where the goal comes from, when a number alone does not say it. */
  readonly remark?: string;
  /** A goal in bytes in place of one against the peer. */
  readonly bytes?: ByteGoal;
}

/** Bytes that are to be worked on in a second, by geometric mean. */
interface ByteGoal {
  readonly perSecond: number;
  /** Bytes for each instruction; a repeated one counts each time. */
  readonly perInstruction: number;
}

/** The line of the boot, which is no test of the list. */
const BOOT = 'boot';

/** All categories, in the order in which they are printed. */
export const categories: readonly Category[] = [
  { name: 'integer', tests: ['integer', 'muldiv64', 'sha256'], goal: 1 },
  { name: 'control flow', tests: ['branches', 'calls', 'indirect'], goal: 1 },
  { name: 'memory', tests: ['paging', 'chase'], goal: 1 },
  { name: 'SSE', tests: ['sse-double', 'sse-integer'], goal: 3 },
  { name: 'x87', tests: ['x87'] },
  {
    name: 'strings',
    tests: ['repmovs', 'repstos', 'repcmps', 'repscas'],
    // Each turn is a megabyte byte by byte and the same eight by eight.
    bytes: { perSecond: 50 * 0.3e9, perInstruction: 2 / (1 + 1 / 8) },
    remark: '50 × the 0.3 GB/s of a TCG that goes byte by byte',
  },
  { name: 'system', tests: ['int', 'int-user', 'ipi', 'ud', 'pf', 'pf-map', 'cr3', 'invlpg', 'syscall'], goal: 1.5 },
  { name: 'rewritten code', tests: ['selfmodify'] },
  {
    name: 'whole applications',
    tests: ['syscalls', 'pagefaults', 'forkexec', 'gzip', BOOT],
    goal: 1 / 1.5,
    remark: 'the boot: at most 1.5 × the CPU time',
  },
];

/** No line of the list is to be slower than this. */
const WORST = 0.4;

/** How many times as fast as the peer each line is: tests by name, and the boot. */
function speedsOf({ rows, boot: [own, peer] }: Comparison): Map<string, number> {
  const speeds = new Map<string, number>();
  for (const { test, ratio } of rows) if (ratio !== null) speeds.set(test, 1 / ratio);
  if (own && peer) speeds.set(BOOT, peer.cpuMs / own.cpuMs);
  return speeds;
}

const met = (speed: number, goal: number | undefined): string => (goal === undefined ? '' : speed >= goal ? 'yes' : 'no');

/** Bytes in a second that the first subject works on in the mean of some tests; null when nobody counted instructions. */
function byteRate({ rows }: Comparison, tests: readonly string[], { perInstruction }: ByteGoal): number | null {
  const rates = rows.flatMap(({ test, instructions, results: [own] }) =>
    tests.includes(test) && instructions !== null && own ? [(instructions * perInstruction * 1000) / Math.max(own.cpuMs, 0.01)] : [],
  );
  return geometricMean(rates);
}

const gigabytes = (bytes: number): string => `${(bytes / 1e9).toFixed(1).replace(/\.0$/, '')} GB/s`;

/** What is wanted of a category in bytes, and whether it is met: the cells of its row. */
function byteCells(comparison: Comparison, tests: readonly string[], bytes: ByteGoal, remark = ''): [string, string] {
  const rate = byteRate(comparison, tests, bytes);
  const wanted = `≥ ${gigabytes(bytes.perSecond)} (${remark})`;
  return rate === null ? [wanted, ''] : [`${wanted}: ${gigabytes(rate)}`, met(rate, bytes.perSecond)];
}

function rowOf({ name, tests, goal, remark, bytes }: Category, comparison: Comparison, speeds: ReadonlyMap<string, number>): string[] {
  const found = tests.filter((test) => speeds.has(test));
  const mean = geometricMean(found.map((test) => speeds.get(test) ?? 1));
  if (mean === null) return [];
  const each = found.map((test) => `${test} ${speeds.get(test)?.toFixed(2)}`).join(', ');
  if (bytes) return [name, mean.toFixed(2), ...byteCells(comparison, found, bytes, remark), each];
  const wanted = goal === undefined ? '' : `≥ ${Number(goal.toFixed(2))}${remark ? ` (${remark})` : ''}`;
  return [name, mean.toFixed(2), wanted, met(mean, goal), each];
}

/** What was measured by category as a table in Markdown: geometric means of how many times as fast the first subject is as the second; empty without a peer. */
export function formatCategories(comparison: Comparison): string {
  const speeds = speedsOf(comparison);
  const known = new Set(categories.flatMap(({ tests }) => tests));
  const rest = [...speeds.keys()].filter((test) => !known.has(test));
  const rows = [...categories, { name: 'others', tests: rest }]
    .map((category) => rowOf(category, comparison, speeds))
    .filter((row) => row.length > 0);
  const [worst] = [...speeds].sort(([, a], [, b]) => a - b);
  if (!worst) return '';
  const [name, speed] = worst;
  const table = tableLines(['category', 'times as fast', 'goal', 'met', 'lines'], rows);
  return `${table.join('\n')}\n\nSlowest line: ${name}, ${speed.toFixed(2)} × the speed of ${comparison.subjects[1]!.name} (goal: none below ${WORST}; met: ${met(speed, WORST)}).\n`;
}
