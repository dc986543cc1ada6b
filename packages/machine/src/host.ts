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
  /** Browsers have no `setImmediate`. */
  readonly MessageChannel?: new () => Channel;
}

/** The two ends of a `MessageChannel`, as far as they are used here. */
interface Channel {
  readonly port1: { onmessage: ((event: never) => void) | null };
  readonly port2: { postMessage(message: null): void };
}

/** Timers of the event loop count milliseconds: what a wait is longer than those by, up to this, is waited for in turns of the loop. The rest is rounded up. */
const TURNS_MS = 0.3;
/** What may as well take so long is waited for by a timer where the sleep before it was ended by `wake`, as this one will be: turns keep the host's CPU busy. */
const PATIENCE_MS = 0.5;
const LONGEST_SLEEP_MS = 60_000;

/** Calls what it is given after the tasks that wait already. */
type Defer = (callback: () => void) => void;

/** A message to oneself is a task like others, where a timer that was set by a timer waits for 4 ms at least (HTML, "timer initialization steps"). */
function messageTasks({ port1, port2 }: Channel): Defer {
  const waiting: (() => void)[] = [];
  port1.onmessage = () => waiting.shift()?.();
  return (callback) => {
    waiting.push(callback);
    port2.postMessage(null);
  };
}

function taskQueue(loop: EventLoop): Defer {
  if (loop.setImmediate) return (callback) => loop.setImmediate!(callback);
  if (loop.MessageChannel) return messageTasks(new loop.MessageChannel());
  return (callback) => loop.setTimeout(callback, 0);
}

/** A host on an event loop: its clock, its timers. */
export function createEventLoopHost(loop: EventLoop): HostServices {
  let waken: (() => void) | undefined;
  let woken = false;
  const defer = taskQueue(loop);
  const turn = (): Promise<void> => new Promise(defer);
  // What goes on in a task of its own sets its next timer as if it were the first.
  const leaveTimer: Defer = loop.setImmediate ? (callback) => callback() : defer;
  /** Whether the latest sleep was ended by `wake`. */
  let cutShort = false;
  /** Gives turns away until the time has come or something has happened: a vCPU that was asked each time would cost more than the wait. */
  const wait = async (milliseconds: number): Promise<true> => {
    const until = loop.performance.now() + milliseconds;
    woken = false;
    do await turn();
    while (!woken && loop.performance.now() < until);
    cutShort = woken;
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
    sleep: (ns, mostNs = ns) => {
      const milliseconds = Math.min(LONGEST_SLEEP_MS, ns / 1e6);
      const whole = Math.max(Math.ceil(milliseconds - TURNS_MS), cutShort && mostNs / 1e6 >= PATIENCE_MS ? 1 : 0);
      if (whole <= 0) return wait(milliseconds);
      return new Promise((resolve) => {
        const done = (early: boolean): void => {
          // A timer that goes off late may find that the sleep was ended, and another begun.
          if (waken !== wakeUp) return;
          waken = undefined;
          cutShort = early;
          loop.clearTimeout(timer as never);
          resolve(true);
        };
        const timer = loop.setTimeout(() => leaveTimer(() => done(false)), whole);
        const wakeUp = (): void => done(true);
        waken = wakeUp;
      });
    },
  };
}
