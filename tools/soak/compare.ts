/** Compares runs that must be the same, checkpoint by checkpoint, and looks for the first instant at which they are not. */
import { type Digest, differences } from './digest.js';

/** What a run has come to at a checkpoint. */
export interface Checkpoint {
  /** Undefined where none was asked for. */
  readonly digest?: Digest | undefined;
  /** How the guest ended, before this checkpoint or at it. */
  readonly ended?: string | undefined;
}

/** One run of the guest; the same configuration gives the same run. */
export interface Run {
  /** Goes on to an instant of guest time. */
  advance(untilNs: number, withDigest: boolean): Promise<Checkpoint>;
  close(): void;
}

/** A way to run the guest, which must make no difference. */
export interface Way {
  readonly name: string;
  start(): Run;
}

/** The first checkpoint at which two runs differ. */
export interface Difference {
  readonly ways: readonly [Way, Way];
  /** They were the same at `sameNs` (guest time), and are not at `atNs`. */
  readonly sameNs: number;
  readonly atNs: number;
  readonly lines: readonly string[];
}

/** What comparing has found. */
export interface Outcome {
  readonly difference?: Difference;
  /** Guest time up to which all runs were the same. */
  readonly reachedNs: number;
  readonly checkpoints: number;
  /** How all of them ended, if they did. */
  readonly ended?: string;
  /** The last digest that all of them had. */
  readonly digest?: Digest;
}

export interface CompareOptions {
  readonly everyNs: number;
  /** Whether to go on to another checkpoint. */
  readonly more: (checkpoints: number) => boolean;
  /** Told what all runs had at a checkpoint. */
  readonly onSame?: (atNs: number, digest: Digest) => void;
}

/** Checkpoints that a fast run may be ahead of the slowest. */
const LEAD = 4;

const nothing: Digest = {};

/** In what two runs differ at a checkpoint, a line each. */
function differ(names: readonly [string, string], a: Checkpoint, b: Checkpoint): string[] {
  const say = (name: string, x: string | undefined, y: string | undefined): string =>
    `${name}: ${names[0]} ${x ?? 'nothing'}, ${names[1]} ${y ?? 'nothing'}`;
  if (a.ended !== b.ended) return [say('end', a.ended, b.ended)];
  const [left, right] = [a.digest ?? nothing, b.digest ?? nothing];
  return differences(left, right).map((name) => say(name, left[name], right[name]));
}

/** Lets runs go ahead of each other, but not far. */
class Pace {
  private readonly done: number[];
  private readonly waiting: (() => void)[] = [];
  private started = 0;
  /** Nobody goes beyond this checkpoint. */
  private end = Infinity;

  constructor(
    runs: number,
    private readonly more: CompareOptions['more'],
  ) {
    this.done = new Array<number>(runs).fill(0);
  }

  endAt(checkpoint: number): void {
    this.end = Math.min(this.end, checkpoint);
  }

  reached(run: number): void {
    this.done[run]!++;
    for (const wake of this.waiting.splice(0)) wake();
  }

  /** Waits until a run may go on to a checkpoint; false when it need not. All come to the same last one, so none is begun when time is up. */
  async mayStart(checkpoint: number): Promise<boolean> {
    while (checkpoint <= this.end && checkpoint > Math.min(...this.done) + LEAD) await new Promise<void>((wake) => void this.waiting.push(wake));
    if (checkpoint > this.started && !this.more(this.started)) this.endAt(this.started);
    if (checkpoint > this.end) return false;
    this.started = Math.max(this.started, checkpoint);
    return true;
  }
}

/** Runs the guest in each way at the same time and compares every checkpoint with that of the first way. */
export async function compareWays(ways: readonly Way[], { everyNs, more, onSame }: CompareOptions): Promise<Outcome> {
  const runs = ways.map((way) => way.start());
  const pace = new Pace(runs.length, more);
  const reached: Checkpoint[][] = [];
  let same = 0;
  let difference: Difference | undefined;
  const judge = (): void => {
    for (; difference === undefined && reached[same]?.filter(Boolean).length === runs.length; same++) {
      const [first, ...others] = reached[same]!;
      for (const [i, other] of others.entries()) {
        const pair = [ways[0]!, ways[i + 1]!] as const;
        const lines = differ([pair[0].name, pair[1].name], first!, other);
        if (lines.length === 0) continue;
        difference = { ways: pair, sameNs: same * everyNs, atNs: (same + 1) * everyNs, lines };
        return pace.endAt(0);
      }
      if (first!.digest) onSame?.((same + 1) * everyNs, first!.digest);
    }
  };
  const follow = async (run: Run, index: number): Promise<void> => {
    for (let checkpoint = 1; await pace.mayStart(checkpoint); checkpoint++) {
      const found = await run.advance(checkpoint * everyNs, true);
      (reached[checkpoint - 1] ??= [])[index] = found;
      if (found.ended !== undefined) pace.endAt(checkpoint);
      pace.reached(index);
      judge();
    }
  };
  try {
    await Promise.all(runs.map(follow));
  } finally {
    for (const run of runs) run.close();
  }
  const last = reached[same - 1]?.[0];
  return {
    reachedNs: same * everyNs,
    checkpoints: same,
    ...(difference ? { difference } : {}),
    ...(last?.ended === undefined ? {} : { ended: last.ended }),
    ...(last?.digest ? { digest: last.digest } : {}),
  };
}

/** Parts into which an interval is divided to look closer. */
const PARTS = 32;

/**
 * Runs a pair that differs again, and again, each time with closer checkpoints where they differ. It passes the same checkpoints on the way there, so that the run is the same one.
 * Ends at an interval of `leastNs`, or when `more` says so; gives the closest.
 */
export async function narrow(
  found: Difference,
  everyNs: number,
  leastNs: number,
  { more, onCloser }: { readonly more: () => boolean; readonly onCloser?: (difference: Difference) => void },
): Promise<Difference> {
  let closest = found;
  /** Checkpoints that were passed up to where both were the same. */
  const passed: number[] = [];
  for (let at = everyNs; at <= found.sameNs; at += everyNs) passed.push(at);
  while (closest.atNs - closest.sameNs > leastNs && more()) {
    const step = Math.max(leastNs, Math.ceil((closest.atNs - closest.sameNs) / PARTS));
    const next = await lookCloser(closest, passed, step);
    if (next === undefined) return closest;
    for (let at = closest.sameNs + step; at <= next.sameNs; at += step) passed.push(at);
    closest = next;
    onCloser?.(closest);
  }
  return closest;
}

/** The first of the closer checkpoints at which the pair differs; undefined when it does not do so again. */
async function lookCloser({ ways, sameNs, atNs }: Difference, passed: readonly number[], step: number): Promise<Difference | undefined> {
  const runs = ways.map((way) => way.start());
  const both = (untilNs: number, withDigest: boolean): Promise<Checkpoint[]> => Promise.all(runs.map((run) => run.advance(untilNs, withDigest)));
  try {
    for (const at of passed) await both(at, false);
    for (let before = sameNs; before < atNs; before += step) {
      const at = Math.min(before + step, atNs);
      const [a, b] = await both(at, true);
      const lines = differ([ways[0].name, ways[1].name], a!, b!);
      if (lines.length > 0) return { ways, sameNs: before, atNs: at, lines };
    }
    return undefined;
  } finally {
    for (const run of runs) run.close();
  }
}
