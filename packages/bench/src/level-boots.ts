import { helloOf, Lines } from './lines.js';
import type { Usage } from './log.js';
import { tableLines } from './markdown.js';

/** What the emulator's process had used up when each level said hello; level 1 is the machine's own guest. */
export type LevelBoots = ReadonlyMap<number, Usage>;

/** Reads the console of a guest that starts guests, and asks for the process's usage when a level says hello. */
export class LevelBootsReader {
  readonly #sample: () => Usage;
  readonly #boots = new Map<number, Usage>();
  readonly #lines = new Lines();

  constructor(sample: () => Usage) {
    this.#sample = sample;
  }

  /** Takes console output as it comes, in pieces of any size. */
  push(text: string): void {
    for (const line of this.#lines.take(text)) {
      const level = helloOf(line);
      if (level !== null) this.#boots.set(level, this.#sample());
    }
  }

  finish(): LevelBoots {
    return this.#boots;
  }
}

/** The boots of one emulator on one vendor: the least of several counts. */
export interface LevelBootsSubject {
  readonly name: string;
  readonly runs: readonly LevelBoots[];
  /** VM entries of a whole run with this many levels, where the emulator counts them. */
  readonly entries: ReadonlyMap<number, number>;
}

/** CPU seconds until each level up to `levels` said hello, and the VM entries of whole runs, in Markdown. */
export function formatLevelBoots(subjects: readonly LevelBootsSubject[], levels: number): string {
  const numbers = Array.from({ length: levels }, (_, i) => i + 1);
  const head = ['CPU s to', ...numbers.map((level) => `L${level}`), ...numbers.slice(1).map((level) => `VM entries, ${level} levels`)];
  const seconds = ({ runs }: LevelBootsSubject, level: number): string => {
    const times = runs.flatMap((run) => run.get(level)?.cpuMs ?? []);
    return times.length === 0 ? '–' : (Math.min(...times) / 1000).toFixed(1);
  };
  const row = (subject: LevelBootsSubject): string[] => [
    subject.name,
    ...numbers.map((level) => seconds(subject, level)),
    ...numbers.slice(1).map((level) => String(subject.entries.get(level) ?? '–')),
  ];
  return `${tableLines(head, subjects.map(row)).join('\n')}\n`;
}
