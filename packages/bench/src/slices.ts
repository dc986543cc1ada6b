import { helloOf, Lines } from './lines.js';
import { tableLines } from './markdown.js';
import { geometricMean } from './report.js';

/** A piece of a run. */
export interface Slice {
  readonly ns: number;
  readonly instructions: number;
  /** Whether all of it ran in one level: no VM entry and no VM exit came between. */
  readonly isWhole: boolean;
}

/** What the whole slices of a test in a level took. */
export interface SliceSummary {
  /** Nanoseconds for an instruction: the median slice; for the pointer chase, half of which is making the ring, the mean of all. */
  readonly nsPerInstruction: number;
  /** Part of the test's instructions that were in whole slices. */
  readonly share: number;
}

const CHASE = 'chase';

interface Collected {
  readonly rates: number[];
  ns: number;
  whole: number;
  all: number;
}

/** Assigns slices of a run to the test that the console says is under way, and to the level that runs it. */
export class SliceMeter {
  readonly #lines = new Lines();
  readonly #tests = new Map<string, Map<number, Collected>>();
  #level = 1;
  #test: string | null = null;

  /** Level that has said hello last. */
  get level(): number {
    return this.#level;
  }

  /** Takes console output as it comes, in pieces of any size. */
  push(text: string): void {
    for (const line of this.#lines.take(text)) {
      this.#level = helloOf(line) ?? this.#level;
      if (line.startsWith('BENCH-DONE')) this.#test = null;
      this.#test = /^BENCH-START (\S+)/.exec(line)?.[1] ?? this.#test;
    }
  }

  /** Takes what has run since the slice before. */
  note({ ns, instructions, isWhole }: Slice): void {
    if (this.#test === null || instructions === 0) return;
    const levels = this.#tests.get(this.#test) ?? new Map<number, Collected>();
    this.#tests.set(this.#test, levels);
    const collected = levels.get(this.#level) ?? { rates: [], ns: 0, whole: 0, all: 0 };
    levels.set(this.#level, collected);
    collected.all += instructions;
    if (!isWhole) return;
    collected.whole += instructions;
    collected.ns += ns;
    collected.rates.push(ns / instructions);
  }

  get tests(): readonly string[] {
    return [...this.#tests.keys()];
  }

  /** What a test took in a level; undefined when it had no whole slice there. */
  of(test: string, level: number): SliceSummary | undefined {
    const collected = this.#tests.get(test)?.get(level);
    if (collected === undefined || collected.rates.length === 0) return undefined;
    const rates = [...collected.rates].sort((a, b) => a - b);
    const nsPerInstruction = test === CHASE ? collected.ns / collected.whole : rates[rates.length >> 1];
    return { nsPerInstruction, share: collected.whole / collected.all };
  }
}

/** The runs of one vendor: of several, the one that a level was fastest in counts. */
export interface SliceSubject {
  readonly name: string;
  readonly runs: readonly SliceMeter[];
}

const LEVELS = [2, 3] as const;
/** How much of L1's time user code may take in a level at most. */
const MOST = { compute: 1.05, chase: 1.15 } as const;

function bestOf({ runs }: SliceSubject, test: string, level: number): SliceSummary | undefined {
  const found = runs.flatMap((run) => run.of(test, level) ?? []);
  return found.sort((a, b) => a.nsPerInstruction - b.nsPerInstruction)[0];
}

function ratioOf(subject: SliceSubject, test: string, level: number): number | undefined {
  const [first, own] = [bestOf(subject, test, 1), bestOf(subject, test, level)];
  return first === undefined || own === undefined ? undefined : own.nsPerInstruction / first.nsPerInstruction;
}

function cells(subject: SliceSubject, test: string): string[] {
  const base = bestOf(subject, test, 1)?.nsPerInstruction.toFixed(2) ?? '–';
  return [
    base,
    ...LEVELS.flatMap((level) => [ratioOf(subject, test, level)?.toFixed(3) ?? '–', bestOf(subject, test, level)?.share.toFixed(2) ?? '–']),
  ];
}

function goalLine(subject: SliceSubject, name: string, tests: readonly string[], most: number): string[] {
  const parts = LEVELS.flatMap((level) => {
    const mean = geometricMean(tests.flatMap((test) => ratioOf(subject, test, level) ?? []));
    return mean === null ? [] : [`L${level} ${mean.toFixed(3)} × L1 (${mean <= most ? 'met' : 'not met'})`];
  });
  return parts.length === 0 ? [] : [`- ${subject.name}, ${name}, goal at most ${most}: ${parts.join(', ')}.`];
}

/** User code alone in L2 and in L3 against the same in L1, in Markdown. */
export function formatSlices(subjects: readonly SliceSubject[]): string {
  const tests = [...new Set(subjects.flatMap(({ runs }) => runs.flatMap((run) => run.tests)))];
  const head = ['user code', ...subjects.flatMap(({ name }) => [`${name} L1, ns an instruction`, 'L2 ÷ L1', 'share', 'L3 ÷ L1', 'share'])];
  const rows = tests.map((test) => [test, ...subjects.flatMap((subject) => cells(subject, test))]);
  const compute = tests.filter((test) => test !== CHASE);
  const goals = subjects.flatMap((subject) => [
    ...goalLine(subject, 'user-mode compute', compute, MOST.compute),
    ...goalLine(subject, CHASE, [CHASE], MOST.chase),
  ]);
  return `${[...tableLines(head, rows), '', 'Geometric means:', '', ...goals].join('\n')}\n`;
}
