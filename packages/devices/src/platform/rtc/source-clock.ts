import type { Clock, Timer } from '@nestvm/bus';

/**
 * A clock that shows a time of its own, such as the host's, and whose timers are timers of the guest's clock: both may run at different speeds, so a timer that
 * fires before its time has come is armed again for what is left.
 */
export class SourceClock implements Clock {
  readonly #guest: Clock;
  readonly #source: () => number;

  constructor(guest: Clock, source: () => number) {
    this.#guest = guest;
    this.#source = source;
  }

  nowNs(): number {
    return Math.floor(this.#source());
  }

  createTimer(name: string, callback: () => void): Timer {
    let deadline = Infinity;
    const due = (): void => {
      const left = deadline - this.nowNs();
      if (left > 0) timer.arm(this.#guest.nowNs() + left);
      else {
        deadline = Infinity;
        callback();
      }
    };
    const timer = this.#guest.createTimer(name, due);
    return {
      get deadlineNs() {
        return deadline;
      },
      arm: (deadlineNs) => {
        deadline = deadlineNs;
        timer.arm(this.#guest.nowNs() + Math.max(0, deadlineNs - this.nowNs()));
      },
      cancel: () => {
        deadline = Infinity;
        timer.cancel();
      },
    };
  }
}
