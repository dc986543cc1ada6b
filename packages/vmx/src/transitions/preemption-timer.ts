import type { Vcpu } from '@nestvm/cpu';
import { recentNs } from '@nestvm/cpu/extension';
import { MISC } from '../capabilities/tables.js';
import { VmxWord } from '../state.js';

/** A clock whose timers reach the machine's run loop: `VirtualClock` of `@nestvm/bus` has this shape. */
export interface VmxClock {
  nowNs(): number;
  /** The latest answer of `nowNs`; without it, `nowNs` is asked. */
  recentNs?(): number;
  createTimer(name: string, callback: () => void): { arm(deadlineNs: number): void; cancel(): void };
}

/** Guest nanoseconds (TSC ticks) per count. */
const TICK_NS = 2 ** MISC.TIMER_SHIFT;

/**
 * The VMX-preemption timer (SDM Vol. 3, "VMX-Preemption Timer"). It counts down whenever a bit of the TSC changes, that is on a grid of guest time; the deadline is
 * a timer of the machine's clock, so that the run loop stops for it.
 */
export class PreemptionTimer {
  /** Guest time when it reaches zero; Infinity while it does not run. */
  private deadlineNs = Infinity;
  private readonly timer: { arm(deadlineNs: number): void; cancel(): void };
  private armed = false;

  constructor(
    private readonly cpu: Vcpu,
    private readonly clock: VmxClock,
  ) {
    this.timer = clock.createTimer(`vmx preemption timer ${cpu.index}`, () => {
      this.armed = false;
      cpu.requestAttention();
    });
  }

  /** Starts at a value of the timer field. */
  start(value: number): void {
    const now = Math.floor(this.clock.nowNs() / TICK_NS);
    this.deadlineNs = (now + (value >>> 0)) * TICK_NS;
    this.keep(now + (value >>> 0));
    if (value === 0) {
      this.cpu.attention = 1;
      return;
    }
    this.armed = true;
    this.timer.arm(this.deadlineNs);
  }

  /** Goes on from what the state holds: after a load of it, when `stop` has been called. */
  resume(): void {
    const { w } = this.cpu;
    this.deadlineNs = ((w[VmxWord.TIMER + 1]! >>> 0) * 4294967296 + (w[VmxWord.TIMER]! >>> 0)) * TICK_NS;
    this.armed = true;
    this.timer.arm(this.deadlineNs);
  }

  /** Keeps the deadline, in counts, where snapshots find it. */
  private keep(counts: number): void {
    const { w } = this.cpu;
    w[VmxWord.TIMER] = counts | 0;
    w[VmxWord.TIMER + 1] = (counts / 4294967296) | 0;
  }

  stop(): void {
    if (this.armed) this.timer.cancel();
    this.armed = false;
    this.deadlineNs = Infinity;
  }

  /** True when it has reached zero while running. No time passes the deadline before the clock's timer has fired, so that the latest one known will do. */
  get expired(): boolean {
    return this.deadlineNs !== Infinity && (!this.armed || recentNs(this.clock) >= this.deadlineNs);
  }

  /** What VM exits save: counts left. */
  get value(): number {
    if (this.deadlineNs === Infinity) return 0;
    return Math.max(0, this.deadlineNs / TICK_NS - Math.floor(this.clock.nowNs() / TICK_NS)) | 0;
  }
}
