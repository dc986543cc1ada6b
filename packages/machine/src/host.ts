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

/** Below this many ns a timer of the event loop is too coarse: only its turns are given away. */
const TIMER_RESOLUTION_NS = 1_100_000;
const LONGEST_SLEEP_MS = 60_000;

/** A host on an event loop: its clock, its timers. */
export function createEventLoopHost(loop: EventLoop): HostServices {
  let waken: (() => void) | undefined;
  const turn = (): Promise<void> =>
    new Promise((resolve) => {
      if (loop.setImmediate) loop.setImmediate(() => resolve());
      else loop.setTimeout(() => resolve(), 0);
    });
  return {
    nowNs: () => loop.performance.now() * 1e6,
    wallNs: () => loop.Date.now() * 1e6,
    yieldTurn: turn,
    wake: () => waken?.(),
    sleep: (ns) => {
      if (ns < TIMER_RESOLUTION_NS) return turn().then(() => true);
      return new Promise((resolve) => {
        const milliseconds = Math.min(LONGEST_SLEEP_MS, ns / 1e6);
        const done = (): void => {
          waken = undefined;
          loop.clearTimeout(timer as never);
          resolve(true);
        };
        const timer = loop.setTimeout(done, Math.floor(milliseconds));
        waken = done;
      });
    },
  };
}
