import type { Pace } from '@nestvm/bus';
import type { ClockConfig, HostServices } from './config.js';

/** What guest time is made of. */
export interface GuestTimeOptions {
  readonly config: ClockConfig;
  readonly host: HostServices;
  /** When the next timer is due, in guest nanoseconds; Infinity for never. */
  readonly nextDeadlineNs: () => number;
  /** In the middle of a slice: the next timer is due. */
  readonly onDeadline: () => void;
}

/** Counts instructions: an executor. */
export interface InstructionCount {
  readonly retired: number;
}

/** How guest time moves. The run loop tells it what the vCPUs do; devices and RDTSC ask it. */
export interface GuestTime {
  /** Guest nanoseconds, whole. */
  now(): number;
  /** How the latest answer of `now` goes on in the slice. */
  readonly pace: Pace;
  /** A run begins: host time that went by before it is none of the guest's. */
  start(): void;
  /** Time was set to this while nothing runs. */
  restore(nowNs: number): void;
  /** Each vCPU gets a slice from now on. */
  beginRound(): void;
  beginSlice(executor: InstructionCount): void;
  endSlice(): void;
  /** About so many instructions take this long. */
  instructionsIn(ns: number): number;
  /** Nothing runs until `deadlineNs` at the latest: host nanoseconds to sleep, 0 or less for none. */
  beginRest(deadlineNs: number): number;
  /** The sleep is over. */
  endRest(): void;
}

/**
 * Longest time that an instruction takes on the host clock. An engine that is slower, or a host that is busy with something else, makes guest time fall behind
 * host time instead of making timers fire faster than the guest can serve them; the guest catches up while it idles.
 */
const MOST_NS_PER_INSTRUCTION = 10;
/** What a look at the clock from inside of a slice may take: a device access or RDTSC, which cost more than an instruction. */
const READING_NS = 100;
/** A guest that is further behind than this never makes up for the rest: the host slept, or the guest never idles. */
const LONGEST_LAG_NS = 60e9;
/**
 * So many times as fast as the host's goes the time of a guest that is behind while it idles. At once would be too fast: what it waits for from outside, an answer on
 * a network above all, would come after its own timeouts.
 */
const CATCH_UP = 20;
/** …and so many times while it runs: ticks that come much faster than that would take a good part of the time that a fast engine has made up. */
const RUNNING_CATCH_UP = 2;
/** Instructions per host nanosecond: a guess to start from; measured while running. */
const FIRST_RATE = 0.1;
const LEAST_MEASURED = 10_000;
/** Instructions for which the host's clock need not be asked again: some microseconds. */
const PACED = 2048;

/**
 * Follows the host's clock, but never faster than the vCPUs execute, and never past the next deadline before its timer has fired. The vCPUs of a round run
 * one after another in place of side by side, so time moves by what the busiest of them has executed.
 */
class HostTime implements GuestTime {
  private originNs = 0;
  private reachedNs = 0;
  private roundNs = 0;
  private executor: InstructionCount | undefined;
  private retiredBefore = 0;
  private readings = 0;
  private sliceStartNs = 0;
  /** Host time up to which the vCPUs have run or rested, and the same before the present round. */
  private endedNs = 0;
  private pacedFromNs = 0;
  private restUntilNs = -1;
  private restFromNs = 0;
  private restHostNs = 0;
  private rate = FIRST_RATE;
  readonly pace = { instructions: 0, nsPerInstruction: 1 };
  /** Instructions that had been executed when the pace was set. */
  private pacedFrom = 0;

  constructor(private readonly options: GuestTimeOptions) {}

  now(): number {
    const { executor } = this;
    if (executor !== undefined) {
      const { retired } = executor;
      this.readings++;
      const ran = (retired - this.retiredBefore) * MOST_NS_PER_INSTRUCTION + this.readings * READING_NS;
      const deadlineNs = this.options.nextDeadlineNs();
      this.keepPace(retired, deadlineNs);
      // Asked once: a look at the host's clock is most of what an answer costs.
      const hostNs = this.options.host.nowNs();
      const caughtUp = (hostNs - this.pacedFromNs) * RUNNING_CATCH_UP;
      this.reach(Math.min(this.roundNs + Math.min(ran, caughtUp), deadlineNs), hostNs);
      this.setPace(retired, deadlineNs, hostNs);
      if (this.reachedNs >= deadlineNs) this.options.onDeadline();
    } else if (this.restUntilNs >= 0) {
      const hostNs = this.options.host.nowNs();
      const restedNs = hostNs - this.restHostNs;
      this.reach(Math.min(this.restUntilNs, Math.ceil(this.restFromNs + restedNs * CATCH_UP)), hostNs);
    }
    return this.reachedNs;
  }

  /** Guests may have been told times that went by instructions. */
  private keepPace(retired: number, deadlineNs: number): void {
    const { instructions, nsPerInstruction } = this.pace;
    const paced = this.reachedNs + Math.min(retired - this.pacedFrom, instructions) * nsPerInstruction;
    if (paced <= deadlineNs) this.reachedNs = paced;
  }

  /** For some instructions time goes at the pace measured, if it is not ahead of the host's and no timer is due by then. */
  private setPace(retired: number, deadlineNs: number, hostNs: number): void {
    const { pace } = this;
    pace.nsPerInstruction = Math.min(MOST_NS_PER_INSTRUCTION, Math.max(1, Math.floor(1 / this.rate)));
    const isFree = this.reachedNs <= hostNs - this.originNs && this.reachedNs + PACED * pace.nsPerInstruction < deadlineNs;
    pace.instructions = isFree ? PACED : 0;
    this.pacedFrom = retired;
  }

  start(): void {
    this.endedNs = this.options.host.nowNs();
    this.originNs = this.endedNs - this.reachedNs;
  }

  restore(nowNs: number): void {
    this.reachedNs = nowNs;
    this.start();
  }

  beginRound(): void {
    this.roundNs = this.reachedNs;
    this.pacedFromNs = this.endedNs;
  }

  beginSlice(executor: InstructionCount): void {
    this.executor = executor;
    this.retiredBefore = executor.retired;
    this.pace.instructions = 0;
    this.pacedFrom = executor.retired;
    this.readings = 0;
    this.sliceStartNs = this.options.host.nowNs();
  }

  endSlice(): void {
    this.now();
    const done = this.executor!.retired - this.retiredBefore;
    this.executor = undefined;
    this.endedNs = this.options.host.nowNs();
    if (done > LEAST_MEASURED) this.rate = 0.8 * this.rate + 0.2 * (done / Math.max(1, this.endedNs - this.sliceStartNs));
  }

  instructionsIn(ns: number): number {
    const behind = this.hostTime() - this.reachedNs > ns;
    return Math.ceil(ns * Math.max(behind ? this.rate / RUNNING_CATCH_UP : this.rate, 1 / MOST_NS_PER_INSTRUCTION));
  }

  beginRest(deadlineNs: number): number {
    const lag = this.hostTime() - this.reachedNs;
    if (lag > LONGEST_LAG_NS) this.originNs += lag - LONGEST_LAG_NS;
    this.restUntilNs = deadlineNs;
    this.restFromNs = this.reachedNs;
    this.restHostNs = this.options.host.nowNs();
    return Math.max(deadlineNs - this.hostTime(), (deadlineNs - this.reachedNs) / CATCH_UP);
  }

  endRest(): void {
    this.now();
    this.restUntilNs = -1;
    this.endedNs = this.options.host.nowNs();
  }

  private hostTime(): number {
    return this.options.host.nowNs() - this.originNs;
  }

  private reach(limitNs: number, hostNs: number): void {
    const ns = Math.floor(Math.min(limitNs, hostNs - this.originNs));
    if (ns > this.reachedNs) this.reachedNs = ns;
  }
}

/** The shift is looked at so often, in host time, and left alone while guest and host are this near to each other. */
const ADJUST_NS = 100e6;
const WOBBLE_NS = 10e6;
const MOST_SHIFT = 10;
/** More instructions than a slice has. */
const SLICE = 2 ** 30;
const FIRST_SHIFT = 3;

/**
 * 2^shift nanoseconds for each instruction. With a fixed shift, runs repeat exactly. An adaptive one goes up while the guest falls behind the host's clock and
 * down while it is ahead, so that both go at about one pace; idling evens out the rest.
 */
class InstructionTime implements GuestTime {
  private reachedNs = 0;
  private scale: number;
  private executor: InstructionCount | undefined;
  private retiredBefore = 0;
  private originNs = 0;
  private restUntilNs = 0;
  private adjustedAtNs = 0;
  private lastLagNs = 0;
  private readonly adaptive: boolean;
  readonly pace = { instructions: 0, nsPerInstruction: 1 };

  constructor(private readonly options: GuestTimeOptions) {
    const { config } = options;
    this.adaptive = config.kind === 'adaptive';
    this.scale = 2 ** (config.kind === 'virtual' ? config.shift : FIRST_SHIFT);
  }

  now(): number {
    return this.executor === undefined ? this.reachedNs : this.reachedNs + (this.executor.retired - this.retiredBefore) * this.scale;
  }

  start(): void {
    const hostNs = this.options.host.nowNs();
    this.originNs = hostNs - this.reachedNs;
    this.adjustedAtNs = hostNs;
    this.lastLagNs = 0;
  }

  restore(nowNs: number): void {
    this.reachedNs = nowNs;
    this.start();
  }

  beginRound(): void {}

  beginSlice(executor: InstructionCount): void {
    this.executor = executor;
    this.retiredBefore = executor.retired;
    this.pace.nsPerInstruction = this.scale;
    this.pace.instructions = SLICE;
  }

  endSlice(): void {
    this.reachedNs = this.now();
    this.pace.instructions = 0;
    this.executor = undefined;
    if (this.adaptive) this.adjust();
  }

  instructionsIn(ns: number): number {
    return Math.ceil(ns / this.scale);
  }

  beginRest(deadlineNs: number): number {
    this.restUntilNs = deadlineNs;
    const { config, host } = this.options;
    if (this.adaptive || deadlineNs === Infinity) return this.adaptive ? deadlineNs - (host.nowNs() - this.originNs) : Infinity;
    return config.kind === 'virtual' && config.sleep ? deadlineNs - this.reachedNs : 0;
  }

  endRest(): void {
    const { restUntilNs } = this;
    const until = this.adaptive ? Math.floor(Math.min(restUntilNs, this.options.host.nowNs() - this.originNs)) : restUntilNs;
    if (until !== Infinity) this.reachedNs = Math.max(this.reachedNs, until);
  }

  private adjust(): void {
    const hostNs = this.options.host.nowNs();
    if (hostNs - this.adjustedAtNs < ADJUST_NS) return;
    this.adjustedAtNs = hostNs;
    const lag = hostNs - this.originNs - this.reachedNs;
    if (lag > WOBBLE_NS && lag >= this.lastLagNs && this.scale < 2 ** MOST_SHIFT) this.scale *= 2;
    else if (lag < -WOBBLE_NS && lag <= this.lastLagNs && this.scale > 1) this.scale /= 2;
    this.lastLagNs = lag;
    if (lag > LONGEST_LAG_NS) this.originNs += lag - LONGEST_LAG_NS;
  }
}

/** Makes guest time of this kind. */
export const createGuestTime = (options: GuestTimeOptions): GuestTime =>
  options.config.kind === 'host' ? new HostTime(options) : new InstructionTime(options);
