import type { VirtualClock } from '@nestvm/bus';
import type { Stop } from '@nestvm/cpu';
import type { ClockConfig, HostServices, MachineOutcome } from './config.js';
import { createGuestTime, type GuestTime } from './guest-time.js';

/** An executor as the loop drives it. */
export interface LoopExecutor {
  readonly retired: number;
  run(budget: number): Stop;
  requestStop(): void;
}

/** What the loop drives. */
export interface RunLoopOptions {
  readonly executors: readonly LoopExecutor[];
  readonly clock: VirtualClock;
  readonly host: HostServices;
  readonly clockConfig: ClockConfig;
  /** Told which vCPU runs from now on. */
  readonly selectCpu: (index: number) => void;
  /** Told before each slice of a vCPU. */
  readonly beforeSlice?: () => void;
  readonly reset: () => void;
  /** True when no vCPU can ever go on: all have halted with interrupts off. Asked only when all of them wait. */
  readonly halted: () => boolean;
  readonly rebootAllowed: boolean;
}

/** Longest slice of one vCPU, in instructions; shorter when several take turns, so that they wait for each other less. */
const SLICE = 200_000;
const SHARED_SLICE = 50_000;
/** The event loop gets a turn at least this often. */
const TURN_NS = 8_000_000;
/** Slice of a vCPU while others need the event loop much: a socket takes some 200 KiB in a turn, and what reads it is through with them soon. */
const SHORT_SLICE = 3000;
/** The vCPUs then have the time that the others had in their last turn, within these bounds. */
const SHORTEST_TURN_NS = 50_000;
const SHORT_TURN_NS = 100_000;
/** … and after so many rounds on a host whose time stands still. */
const MOST_ROUNDS = 64;

/** Runs vCPUs in turns, moves guest time, sleeps when all of them wait. */
export class RunLoop {
  private outcome: MachineOutcome | undefined;
  private resetCause: 'guest' | 'triple-fault' | undefined;
  private runningIndex = 0;
  private running = false;
  private lastTurn = 0;
  /** Share of host time, 0 to 0.99, that the vCPUs do not get; and when that was last taken from them. */
  throttle = 0;
  /** The event loop has much to do besides, and gets its turns more often. */
  yieldsOften = false;
  /** What others took in their last turn. */
  private othersNs = 0;
  private lastHeld = 0;
  private rounds = 0;
  private readonly time: GuestTime;

  constructor(private readonly options: RunLoopOptions) {
    const { clock, host, clockConfig } = options;
    this.time = createGuestTime({ config: clockConfig, host, nextDeadlineNs: () => clock.nextDeadlineNs(), onDeadline: () => this.interrupt() });
    clock.setSource(
      () => this.time.now(),
      () => this.time.pace,
    );
    clock.setEarlierDeadlineListener(() => this.interrupt());
  }

  /** Ends the run at the next instruction boundary. */
  finish(outcome: MachineOutcome): void {
    this.outcome ??= outcome;
    this.interrupt();
    this.options.host.wake();
  }

  requestReset(cause: 'guest' | 'triple-fault'): void {
    this.resetCause ??= cause;
    this.interrupt();
    this.options.host.wake();
  }

  /** Guest time was set to that of a snapshot, while nothing runs. */
  timeRestored(): void {
    this.time.restore(0);
    this.time.restore(this.options.clock.nowNs());
    this.outcome = undefined;
    this.resetCause = undefined;
  }

  /** Something may have become pending: ends a sleep. */
  wake(): void {
    this.options.host.wake();
  }

  run(): Promise<MachineOutcome> {
    this.time.start();
    this.lastTurn = this.options.host.nowNs();
    return this.loop();
  }

  private async loop(): Promise<MachineOutcome> {
    const { host } = this.options;
    for (;;) {
      if (this.outcome !== undefined) return this.takeOutcome();
      const resetCause = this.resetCause;
      if (resetCause !== undefined) {
        this.resetCause = undefined;
        if (!this.options.rebootAllowed) return { kind: 'reset', cause: resetCause };
        this.options.reset();
      }
      const idle = this.round();
      if (this.throttle > 0) await this.holdBack();
      if (idle) {
        if (this.options.halted()) return { kind: 'halted' };
        if (!(await this.rest())) return { kind: 'stuck' };
      }
      if (host.nowNs() - this.lastTurn >= this.turnNs || ++this.rounds >= MOST_ROUNDS) await this.turn();
    }
  }

  /** The event loop gets a turn after so long. */
  private get turnNs(): number {
    return this.yieldsOften ? Math.min(Math.max(this.othersNs, SHORTEST_TURN_NS), SHORT_TURN_NS) : TURN_NS;
  }

  /** Sleeps for the share of time that throttling takes, some milliseconds at once. */
  private async holdBack(): Promise<void> {
    const { host } = this.options;
    const busyNs = host.nowNs() - this.lastHeld;
    if (busyNs < TURN_NS) return;
    await host.sleep((Math.min(busyNs, 10 * TURN_NS) * this.throttle) / (1 - this.throttle));
    this.lastHeld = host.nowNs();
  }

  private takeOutcome(): MachineOutcome {
    const outcome = this.outcome!;
    this.outcome = undefined;
    return outcome;
  }

  private async turn(): Promise<void> {
    const { host } = this.options;
    const startNs = host.nowNs();
    await host.yieldTurn();
    this.lastTurn = host.nowNs();
    this.othersNs = this.lastTurn - startNs;
    this.rounds = 0;
  }

  private interrupt(): void {
    if (this.running) this.options.executors[this.runningIndex]!.requestStop();
  }

  /**
   * One slice of each vCPU; true when all of them wait and nothing has happened that could have woken one after its turn: no timer has fired, and
   * none of several has run an instruction (which could have sent an interrupt to another).
   */
  private round(): boolean {
    const { executors } = this.options;
    let idle = true;
    this.time.beginRound();
    for (let index = 0; index < executors.length; index++) {
      if (this.advance() && index > 0) idle = false;
      if (this.isEnding) return false;
      const executor = executors[index]!;
      const before = executor.retired;
      const stop = this.slice(index);
      if (stop !== 'idle' || (executors.length > 1 && executor.retired !== before)) idle = false;
      if (this.isEnding) return false;
    }
    return idle;
  }

  private get isEnding(): boolean {
    return this.outcome !== undefined || this.resetCause !== undefined;
  }

  private slice(index: number): Stop {
    const { executors, selectCpu, beforeSlice } = this.options;
    const executor = executors[index]!;
    const budget = this.budget();
    beforeSlice?.();
    selectCpu(index);
    this.runningIndex = index;
    this.time.beginSlice(executor);
    this.running = true;
    const stop = executor.run(budget);
    this.running = false;
    this.time.endSlice();
    return stop;
  }

  /** Instructions until the next deadline, within the bounds of a slice. */
  private budget(): number {
    const { clock, executors } = this.options;
    const longest = this.yieldsOften ? SHORT_SLICE : executors.length > 1 ? SHARED_SLICE : SLICE;
    const untilNs = clock.nextDeadlineNs() - clock.nowNs();
    if (untilNs <= 0) return 1;
    return Math.max(1, Math.min(longest, this.time.instructionsIn(untilNs)));
  }

  /** Lets timers fire that are due by now; true when there were any. */
  private advance(): boolean {
    const { clock } = this.options;
    const now = clock.nowNs();
    const due = clock.nextDeadlineNs() <= now;
    if (due) clock.advanceTo(now);
    return due;
  }

  /** All vCPUs wait: until the next deadline, or for input. False when neither can come. */
  private async rest(): Promise<boolean> {
    const { clock, host } = this.options;
    const deadline = clock.nextDeadlineNs();
    const leftNs = deadline - clock.nowNs();
    if (leftNs <= 0) return true;
    const waitNs = this.time.beginRest(deadline);
    const woken = waitNs <= 0 || (await host.sleep(waitNs, Math.max(waitNs, leftNs)));
    // A guest that is behind jumps from timer to timer; what it waits for from outside must not come later than all of them.
    if (waitNs < 0) await this.turn();
    this.time.endRest();
    if (waitNs > 0) this.lastTurn = host.nowNs();
    return woken;
  }
}
