import type { HostServices } from './config.js';

/** A host whose time is what has been slept: deterministic, never waiting. */
export function createMemoryHost(): HostServices {
  let now = 0;
  return {
    nowNs: () => now,
    sleep: async (ns) => {
      if (ns === Infinity) return false;
      now += ns;
      return true;
    },
    wake: () => {},
    yieldTurn: () => Promise.resolve(),
  };
}

/** The surroundings that `createEventLoopHost` needs; `globalThis` of a browser or of Node has them. */
export interface EventLoop {
  readonly performance: { now(): number };
  readonly Date: { now(): number };
  setTimeout(callback: () => void, milliseconds: number): unknown;
  clearTimeout(handle: never): void;
  setImmediate?(callback: () => void): unknown;
}

/** Timers of the event loop count milliseconds: what a wait is longer than those by, up to this, is waited for in turns of the loop. The rest is rounded up. */
const TURNS_MS = 0.3;
const LONGEST_SLEEP_MS = 60_000;

/** A host on an event loop: its clock, its timers. */
export function createEventLoopHost(loop: EventLoop): HostServices {
  let waken: (() => void) | undefined;
  let woken = false;
  const turn = (): Promise<void> =>
    new Promise((resolve) => {
      if (loop.setImmediate) loop.setImmediate(() => resolve());
      else loop.setTimeout(() => resolve(), 0);
    });
  /** Gives turns away until the time has come or something has happened: a vCPU that was asked each time would cost more than the wait. */
  const wait = async (milliseconds: number): Promise<true> => {
    const until = loop.performance.now() + milliseconds;
    woken = false;
    do await turn();
    while (!woken && loop.performance.now() < until);
    return true;
  };
  return {
    nowNs: () => loop.performance.now() * 1e6,
    wallNs: () => loop.Date.now() * 1e6,
    yieldTurn: turn,
    wake: () => {
      woken = true;
      waken?.();
    },
    sleep: (ns) => {
      const milliseconds = Math.min(LONGEST_SLEEP_MS, ns / 1e6);
      const whole = Math.ceil(milliseconds - TURNS_MS);
      if (whole <= 0) return wait(milliseconds);
      return new Promise((resolve) => {
        const done = (): void => {
          waken = undefined;
          loop.clearTimeout(timer as never);
          resolve(true);
        };
        const timer = loop.setTimeout(done, whole);
        waken = done;
      });
    },
  };
}
