import { BenchError } from './errors.js';
import { helloOf, Lines } from './lines.js';
import { ConsoleReader, type Run, type Usage } from './log.js';
import { tableLines } from './markdown.js';
import { geometricMean } from './report.js';

/** What each level of one nested boot measured; level 1 is the machine's own guest. */
export type LevelRuns = ReadonlyMap<number, Run>;

/** Sorts the console of a guest that starts guests by level: each level says hello, then measures. */
export class LevelsReader {
  readonly #sample: () => Usage;
  readonly #readers = new Map<number, ConsoleReader>();
  #current: ConsoleReader;
  readonly #lines = new Lines();

  constructor(sample: () => Usage) {
    this.#sample = sample;
    this.#current = new ConsoleReader(sample);
  }

  /** Takes console output as it comes, in pieces of any size. */
  push(text: string): void {
    // A level's lines go on as they came, several in one piece.
    let piece = '';
    for (const line of this.#lines.take(text)) {
      const level = helloOf(line);
      if (level !== null) {
        this.#current.push(piece);
        piece = '';
        this.#enter(level);
      }
      piece += `${line}\n`;
    }
    this.#current.push(piece);
  }

  finish(): LevelRuns {
    return new Map([...this.#readers].map(([level, reader]) => [level, reader.finish()]));
  }

  #enter(level: number): void {
    this.#current = new ConsoleReader(this.#sample);
    this.#readers.set(level, this.#current);
  }
}

/** The nested runs of one vendor: the least of several counts. */
export interface NestedSubject {
  readonly name: string;
  readonly runs: readonly LevelRuns[];
}

const least = (values: readonly number[]): number | undefined => (values.length === 0 ? undefined : Math.min(...values));

/** CPU time of a test at a level in milliseconds, without what the lines of a test cost there. */
function timeOf({ runs }: NestedSubject, level: number, test: string): number | undefined {
  const times = (name: string): number[] => runs.flatMap((run) => run.get(level)?.tests.get(name)?.host.cpuMs ?? []);
  const time = least(times(test));
  return time === undefined ? undefined : Math.max(time - (least(times('nothing')) ?? 0), 0.01);
}

function checkSums(subjects: readonly NestedSubject[], test: string): void {
  const seen = new Set(
    subjects.flatMap(({ runs }) => runs.flatMap((run) => [...run.values()].flatMap(({ tests }) => tests.get(test)?.checksum ?? []))),
  );
  if (seen.size > 1) throw new BenchError('checksum', `${test} computed different results at different levels: ${[...seen].join(', ')}.`);
}

const EXIT = 'exit-';
const LEVELS = [2, 3] as const;

/** What all levels together execute while a test runs at a level: its own clock counts the instructions. */
function instructionsOf({ runs }: NestedSubject, level: number, test: string): number | undefined {
  return least(runs.flatMap((run) => run.get(level)?.tests.get(test)?.guestSeconds ?? []));
}

function ratioOf(of: typeof timeOf, subject: NestedSubject, level: number, test: string): number | undefined {
  const [first, value] = [of(subject, 1, test), of(subject, level, test)];
  return value === undefined || first === undefined || first === 0 ? undefined : value / first;
}

function compute(subject: NestedSubject, test: string): string[] {
  const base = timeOf(subject, 1, test);
  const ratios = (of: typeof timeOf): string[] => LEVELS.map((level) => ratioOf(of, subject, level, test)?.toFixed(2) ?? '–');
  return [base === undefined ? '–' : (base / 1000).toFixed(3), ...ratios(timeOf), ...ratios(instructionsOf)];
}

/** Tests of user code. */
const COMPUTE = new Set(['integer', 'branches', 'muldiv64', 'sse-double', 'sse-integer', 'x87', 'calls', 'indirect', 'sha256']);
/** Groups of tests whose means say what nesting costs all in all, timer ticks included. */
const GROUPS = [
  { name: 'user code', tests: COMPUTE },
  { name: 'chase', tests: new Set(['chase']) },
] as const;

/** Lines on the means of groups of tests; none where nothing of it was measured. */
function meanLines(subject: NestedSubject, tests: readonly string[]): string[] {
  return GROUPS.flatMap(({ name, tests: own }) => {
    const parts = LEVELS.flatMap((level) => {
      const mean = geometricMean(tests.filter((test) => own.has(test)).flatMap((test) => ratioOf(timeOf, subject, level, test) ?? []));
      return mean === null ? [] : [`L${level} ${mean.toFixed(2)} × L1`];
    });
    return parts.length === 0 ? [] : [`- ${subject.name}, ${name}: ${parts.join(', ')}.`];
  });
}

/** Microseconds of an exit from a level to the level above, which has measured it. */
function exitTime({ runs }: NestedSubject, level: number, test: string): string {
  const found = runs.flatMap((run) => {
    const measured = run.get(level - 1)?.tests.get(test);
    return measured === undefined ? [] : (measured.host.cpuMs * 1000) / Number.parseInt(measured.checksum, 16);
  });
  return least(found)?.toFixed(1) ?? '–';
}

/**
 * Each test in L2 and in L3 against the same test in L1, in CPU time and in the instructions that all levels execute for it, and what an exit takes, in Markdown.
 * @throws BenchError `checksum` when levels did not compute the same.
 */
export function formatLevels(subjects: readonly NestedSubject[]): string {
  const names = new Set(subjects.flatMap(({ runs }) => runs.flatMap((run) => [...run.values()].flatMap(({ tests }) => [...tests.keys()]))));
  const tests = [...names].filter((name) => !name.startsWith(EXIT) && name !== 'nothing');
  for (const test of tests) checkSums(subjects, test);
  const head = ['test', ...subjects.flatMap(({ name }) => [`${name} L1 CPU s`, 'L2 ÷ L1', 'L3 ÷ L1', 'instructions, L2', 'L3'])];
  const exitHead = ['exit, µs of CPU', ...subjects.flatMap(({ name }) => [`${name} L2`, 'L3'])];
  const exits = [...names].filter((name) => name.startsWith(EXIT));
  const exitRow = (test: string): string[] => [
    test.slice(EXIT.length),
    ...subjects.flatMap((subject) => LEVELS.map((level) => exitTime(subject, level, test))),
  ];
  const rows = tests.map((test) => [test, ...subjects.flatMap((subject) => compute(subject, test))]);
  const lines = subjects.flatMap((subject) => meanLines(subject, tests));
  const means = lines.length === 0 ? [] : ['Geometric means:', '', ...lines, ''];
  return [...tableLines(head, rows), '', ...means, ...tableLines(exitHead, exits.map(exitRow)), ''].join('\n');
}

/** What an exit of L2 takes on each emulator, by kind, in Markdown. */
export function formatExits(subjects: readonly NestedSubject[]): string {
  const kinds = new Set(subjects.flatMap(({ runs }) => runs.flatMap((run) => [...(run.get(1)?.tests.keys() ?? [])])));
  const head = ['exit of L2, µs of CPU', ...subjects.map(({ name }) => name)];
  const rows = [...kinds]
    .filter((kind) => kind.startsWith(EXIT))
    .map((kind) => [kind.slice(EXIT.length), ...subjects.map((each) => exitTime(each, 2, kind))]);
  return `${tableLines(head, rows).join('\n')}\n`;
}
