import type { Clock, Timer } from './contracts.js';

const NS_PER_SECOND = 1_000_000_000;
/** Below this frequency (remainder × hz) and (remainder × 10^9) stay exact doubles. */
const EXACT_HZ = 9_000_000;

/** Whole ticks of a `hz` oscillator in `ns` nanoseconds, rounded down; exact for results below 2^53. */
export function nsToTicks(ns: number, hz: number): number {
  if (NS_PER_SECOND % hz === 0) return Math.floor(ns / (NS_PER_SECOND / hz));
  const seconds = Math.floor(ns / NS_PER_SECOND);
  const rest = ns - seconds * NS_PER_SECOND;
  if (hz <= EXACT_HZ) return seconds * hz + Math.floor((rest * hz) / NS_PER_SECOND);
  return seconds * hz + Number((BigInt(rest) * BigInt(hz)) / BigInt(NS_PER_SECOND));
}

/** Nanoseconds until `ticks` ticks of a `hz` oscillator have passed, rounded up, so that `nsToTicks(ticksToNs(t, hz), hz) >= t`. */
export function ticksToNs(ticks: number, hz: number): number {
  if (NS_PER_SECOND % hz === 0) return ticks * (NS_PER_SECOND / hz);
  const seconds = Math.floor(ticks / hz);
  const rest = ticks - seconds * hz;
  if (hz <= EXACT_HZ) return seconds * NS_PER_SECOND + Math.ceil((rest * NS_PER_SECOND) / hz);
  return seconds * NS_PER_SECOND + Number((BigInt(rest) * BigInt(NS_PER_SECOND) + BigInt(hz) - 1n) / BigInt(hz));
}

/** How time goes on while a vCPU runs: by so much with each of its next instructions. After those it must be asked for; 0: each time. */
export interface Pace {
  readonly instructions: number;
  readonly nsPerInstruction: number;
}

const UNKNOWN_PACE: Pace = { instructions: 0, nsPerInstruction: 1 };

class VirtualTimer implements Timer {
  deadlineNs = Infinity;
  /** The turn in which it was armed: a deadline already past when armed waits for the next turn, so that no turn can run for ever. */
  armedInTurn = -1;

  constructor(
    readonly clock: VirtualClock,
    readonly name: string,
    readonly callback: () => void,
  ) {}

  arm(deadlineNs: number): void {
    const earliest = this.clock.nextDeadlineNs();
    const before = this.deadlineNs;
    this.deadlineNs = deadlineNs;
    this.clock.armed(this, before, earliest);
  }

  cancel(): void {
    const before = this.deadlineNs;
    if (before === Infinity) return;
    this.deadlineNs = Infinity;
    this.clock.cancelled(before);
  }
}

/**
 * Guest time, moved by the machine: from retired instructions, or from a host time source.
 * Time never runs backwards. Timers fire only inside `advanceTo`.
 */
export class VirtualClock implements Clock {
  #now = 0;
  #source: (() => number) | undefined;
  #pace: (() => Pace) | undefined;
  /** Whether the latest answer of `nowNs` was the source's. */
  #isSourced = false;
  #turn = 0;
  #firing = false;
  #next = Infinity;
  #nextKnown = true;
  #onEarlier: (() => void) | undefined;
  readonly #timers: VirtualTimer[] = [];

  /** Guest nanoseconds now: the source's answer if there is one, never less than an earlier answer. */
  nowNs(): number {
    if (this.#source !== undefined && !this.#firing) {
      const sourced = this.#source();
      this.#isSourced = sourced >= this.#now;
      if (this.#isSourced) this.#now = sourced;
    }
    return this.#now;
  }

  /** The latest answer of `nowNs`, without asking the source. */
  recentNs(): number {
    return this.#now;
  }

  /**
   * Supplies the time within a slice (integer ns, for example derived from instructions retired so far); `undefined` freezes time between turns. `pace` says how the latest
   * answer goes on without asking again.
   */
  setSource(source: (() => number) | undefined, pace?: () => Pace): void {
    this.#source = source;
    this.#pace = pace;
  }

  /** How the latest answer of `nowNs` goes on. */
  pace(): Pace {
    return this.#pace === undefined || !this.#isSourced || this.#firing ? UNKNOWN_PACE : this.#pace();
  }

  /** Calls back whenever a timer is armed that is due before all others, so that a running slice can be shortened. */
  setEarlierDeadlineListener(listener: (() => void) | undefined): void {
    this.#onEarlier = listener;
  }

  createTimer(name: string, callback: () => void): Timer {
    const timer = new VirtualTimer(this, name, callback);
    this.#timers.push(timer);
    return timer;
  }

  /** The earliest deadline in ns (it may lie in the past), or Infinity. */
  nextDeadlineNs(): number {
    if (!this.#nextKnown) {
      let next = Infinity;
      for (const timer of this.#timers) if (timer.deadlineNs < next) next = timer.deadlineNs;
      this.#next = next;
      this.#nextKnown = true;
    }
    return this.#next;
  }

  /**
   * One turn: moves time to `ns` (unless it is past that already) and fires every timer due by then, in order of deadline, ties in order of creation.
   * A callback sees the turn's final time. What a callback arms for the past fires in the next turn.
   */
  advanceTo(ns: number): void {
    if (ns > this.#now) this.#now = ns;
    if (this.nextDeadlineNs() > this.#now) return;
    this.#turn++;
    this.#firing = true;
    try {
      for (let due = this.#due(); due !== undefined; due = this.#due()) {
        due.deadlineNs = Infinity;
        this.#nextKnown = false;
        due.callback();
      }
    } finally {
      this.#firing = false;
      this.#nextKnown = false;
    }
  }

  /** For `info timers`: the armed timers and their deadlines. */
  armedTimers(): { name: string; deadlineNs: number }[] {
    return this.#timers.filter((timer) => timer.deadlineNs !== Infinity).map(({ name, deadlineNs }) => ({ name, deadlineNs }));
  }

  /** Sets the time after a restore. Timers keep their deadlines; devices re-arm theirs when they load. */
  restore(ns: number): void {
    this.#now = ns;
  }

  /** @internal */
  armed(timer: VirtualTimer, before: number, earliest: number): void {
    timer.armedInTurn = this.#firing ? this.#turn : -1;
    if (timer.deadlineNs < earliest) {
      this.#next = timer.deadlineNs;
      if (!this.#firing) this.#onEarlier?.();
    } else if (before === earliest) {
      this.#nextKnown = false;
    }
  }

  /** @internal */
  cancelled(before: number): void {
    // Another timer is due before.
    if (before > this.#next) return;
    this.#nextKnown = false;
  }

  #due(): VirtualTimer | undefined {
    let best: VirtualTimer | undefined;
    for (const timer of this.#timers) {
      if (timer.deadlineNs > this.#now || timer.armedInTurn === this.#turn) continue;
      if (best === undefined || timer.deadlineNs < best.deadlineNs) best = timer;
    }
    return best;
  }
}
