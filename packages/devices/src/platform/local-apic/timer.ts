import type { Clock, Timer } from '@nestvm/bus';
import { Lvt, TimerMode } from './registers.js';
import type { SavedLocalApic } from './state.js';

/** Periods shorter than this share their interrupts: a guest cannot stop the machine by asking for one every nanosecond. */
const SHORTEST_PERIOD_NS = 2_000;

/**
 * The local APIC's timer: 1 GHz before the divider, counting by time. A host timer runs only while an unmasked expiry lies ahead.
 * TSC-deadline mode compares with the guest's TSC = clock + `tscOffset`.
 */
export class ApicTimer {
  #initial = 0;
  #divide = 0;
  #startNs = 0;
  #expired = true;
  #deadlineLow = 0;
  #deadlineHigh = 0;
  #lvt: number = Lvt.MASKED;
  /** Guest TSC minus clock, in ns; its owner calls `rearm` after it changes. */
  tscOffset: () => number = () => 0;
  readonly #timer: Timer;

  constructor(
    readonly clock: Clock,
    name: string,
    readonly expired: () => void,
  ) {
    this.#timer = clock.createTimer(name, () => this.#expire());
  }

  get initial(): number {
    return this.#initial;
  }

  get divide(): number {
    return this.#divide;
  }

  reset(): void {
    this.#initial = this.#divide = this.#deadlineLow = this.#deadlineHigh = 0;
    this.#expired = true;
    this.#lvt = Lvt.MASKED;
    this.rearm();
  }

  /** The LVT entry has been written. Going to or from TSC-deadline mode disarms the timer. */
  setLvt(lvt: number): void {
    const changed = (lvt ^ this.#lvt) & Lvt.TIMER_MODE;
    const deadlineMode = ((lvt | this.#lvt) & TimerMode.TSC_DEADLINE) !== 0;
    if (changed !== 0 && !deadlineMode) this.#rebase(lvt);
    // A one-shot count that ran out while it was masked has passed in silence; one that runs out from here on has not.
    else if (changed === 0 && this.#mode === TimerMode.ONE_SHOT && this.#lvt & Lvt.MASKED) this.#expired ||= this.current() === 0;
    this.#lvt = lvt;
    if (changed !== 0 && deadlineMode) {
      this.#initial = this.#deadlineLow = this.#deadlineHigh = 0;
      this.#expired = true;
    }
    this.rearm();
  }

  setInitial(count: number): void {
    if (this.#mode === TimerMode.TSC_DEADLINE) return;
    this.#initial = count;
    this.#startNs = this.clock.nowNs();
    this.#expired = count === 0;
    this.rearm();
  }

  setDivide(value: number): void {
    const current = this.current();
    this.#divide = value & 0x0b;
    this.#startNs = this.clock.nowNs() - (this.#initial - current) * this.#tickNs;
    this.rearm();
  }

  /** The current count. */
  current(): number {
    if (this.#initial === 0 || this.#mode === TimerMode.TSC_DEADLINE) return 0;
    const elapsed = Math.floor((this.clock.nowNs() - this.#startNs) / this.#tickNs);
    if (this.#mode === TimerMode.PERIODIC) return this.#initial - (elapsed % this.#initial);
    return this.#expired ? 0 : Math.max(0, this.#initial - elapsed);
  }

  /** IA32_TSC_DEADLINE: zero outside of its mode and after it has fired. */
  get deadlineLow(): number {
    return this.#deadlineLow | 0;
  }

  get deadlineHigh(): number {
    return this.#deadlineHigh | 0;
  }

  setDeadline(low: number, high: number): void {
    if (this.#mode !== TimerMode.TSC_DEADLINE) return;
    this.#deadlineLow = low >>> 0;
    this.#deadlineHigh = high >>> 0;
    this.rearm();
  }

  /** Arms the host timer for the next unmasked expiry; call after the TSC offset changed. */
  rearm(): void {
    const deadline = this.#nextNs();
    if (deadline === Infinity) this.#timer.cancel();
    else this.#timer.arm(deadline);
  }

  save(): SavedLocalApic['timer'] {
    return {
      initial: this.#initial,
      divide: this.#divide,
      startNs: this.#startNs,
      expired: this.#expired,
      deadlineLow: this.#deadlineLow,
      deadlineHigh: this.#deadlineHigh,
    };
  }

  load(saved: SavedLocalApic['timer'], lvt: number): void {
    this.#initial = saved.initial;
    this.#divide = saved.divide & 0x0b;
    this.#startNs = saved.startNs;
    this.#expired = saved.expired;
    this.#deadlineLow = saved.deadlineLow;
    this.#deadlineHigh = saved.deadlineHigh;
    this.#lvt = lvt;
    this.rearm();
  }

  get #mode(): number {
    return this.#lvt & Lvt.TIMER_MODE;
  }

  /** Ns a tick: 1 to 128. */
  get #tickNs(): number {
    return 1 << ((((this.#divide & 3) | ((this.#divide >> 1) & 4)) + 1) & 7);
  }

  /** Between one-shot and periodic the count goes on from where it is. */
  #rebase(lvt: number): void {
    const current = this.current();
    this.#startNs = this.clock.nowNs() - (this.#initial - current) * this.#tickNs;
    if ((lvt & Lvt.TIMER_MODE) === TimerMode.ONE_SHOT) this.#expired = current === 0;
  }

  #nextNs(): number {
    if (this.#mode === TimerMode.TSC_DEADLINE) {
      if (this.#deadlineLow === 0 && this.#deadlineHigh === 0) return Infinity;
      // A masked entry still consumes its deadline, so this timer runs either way. Far beyond 2^53 ns nothing ever fires.
      return Math.max(this.#deadlineHigh * 2 ** 32 + this.#deadlineLow - this.tscOffset(), 0);
    }
    if (this.#initial === 0 || this.#lvt & Lvt.MASKED) return Infinity;
    const period = this.#initial * this.#tickNs;
    if (this.#mode === TimerMode.PERIODIC) {
      const now = this.clock.nowNs();
      const next = this.#startNs + (Math.floor((now - this.#startNs) / period) + 1) * period;
      return period < SHORTEST_PERIOD_NS ? Math.max(next, now + SHORTEST_PERIOD_NS) : next;
    }
    // The end may lie in the past: time went on since the count was written.
    return this.#expired ? Infinity : this.#startNs + period;
  }

  #expire(): void {
    if (this.#mode === TimerMode.TSC_DEADLINE) this.#deadlineLow = this.#deadlineHigh = 0;
    else if (this.#mode === TimerMode.ONE_SHOT) this.#expired = true;
    if (!(this.#lvt & Lvt.MASKED)) this.expired();
    this.rearm();
  }
}
