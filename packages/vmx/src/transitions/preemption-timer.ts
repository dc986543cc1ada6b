import type { Vcpu } from '@nestvm/cpu';
import { MISC } from '../capabilities/tables.js';

/** A clock whose timers reach the machine's run loop: `VirtualClock` of `@nestvm/bus` has this shape. */
export interface VmxClock {
  nowNs(): number;
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
    if (value === 0) {
      this.cpu.attention = 1;
      return;
    }
    this.armed = true;
    this.timer.arm(this.deadlineNs);
  }

  stop(): void {
    if (this.armed) this.timer.cancel();
    this.armed = false;
    this.deadlineNs = Infinity;
  }

  /** True when it has reached zero while running. */
  get expired(): boolean {
    return this.deadlineNs !== Infinity && this.clock.nowNs() >= this.deadlineNs;
  }

  /** What VM exits save: counts left. */
  get value(): number {
    if (this.deadlineNs === Infinity) return 0;
    return Math.max(0, this.deadlineNs / TICK_NS - Math.floor(this.clock.nowNs() / TICK_NS)) | 0;
  }
}
