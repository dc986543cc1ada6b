import type { CpuTimer } from '../ports/clock.js';
import type { Vcpu } from '../vcpu.js';
import { ACTIVITY, word } from '../words.js';
import { Activity } from './deliver.js';
import { Monitor } from './monitor.js';

const MONITOR_ARMED = word('monitorArmed');
const DEADLINE = word('waitDeadline');
const TWO_32 = 4294967296;
const CF = 1;

/** Waits that end by time: UMWAIT and TPAUSE. The deadline is in the vCPU state; the timer only tells the machine of it. */
export class TimedWait {
  private timer: CpuTimer | undefined;

  constructor(private readonly cpu: Vcpu) {}

  /** Stops the vCPU until a time, or for what else the bits of `monitorArmed` (`Monitor`) say. */
  begin(deadlineNs: number, armed: number): void {
    const { w } = this.cpu;
    w[DEADLINE] = deadlineNs;
    w[DEADLINE + 1] = deadlineNs / TWO_32;
    w[MONITOR_ARMED] = armed | Monitor.TIMED | Monitor.BREAK_ON_INTERRUPT;
    w[ACTIVITY] = Activity.MWAIT;
    this.rearm();
    this.cpu.requestAttention();
  }

  /** Sets the timer anew, after the state was loaded. */
  rearm(): void {
    if (!this.isWaiting) return;
    this.timer ??= this.cpu.clock.createTimer?.(`wait of vCPU ${this.cpu.index}`, () => this.cpu.requestAttention());
    this.timer?.arm(this.deadlineNs);
  }

  /** True when the vCPU waits and its time is over; CF then tells the program whether that was the operating system's limit. */
  expire(): boolean {
    const { cpu } = this;
    if (!this.isWaiting || cpu.clock.nowNs() < this.deadlineNs) return false;
    if ((cpu.w[MONITOR_ARMED]! & Monitor.LIMITED) !== 0) cpu.writeArithmeticFlags(CF);
    return true;
  }

  /** Forgets the timer when something else has ended the wait. */
  end(): void {
    this.timer?.cancel();
  }

  private get isWaiting(): boolean {
    const { w } = this.cpu;
    return w[ACTIVITY] === Activity.MWAIT && (w[MONITOR_ARMED]! & Monitor.TIMED) !== 0;
  }

  private get deadlineNs(): number {
    const { w } = this.cpu;
    return (w[DEADLINE + 1]! >>> 0) * TWO_32 + (w[DEADLINE]! >>> 0);
  }
}
