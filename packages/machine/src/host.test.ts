import { describe, expect, it } from 'vitest';
import { createEventLoopHost, type EventLoop } from './host.js';

/** An event loop whose turns take 20 µs, and whose timers are told. */
function createLoop() {
  let now = 0;
  const timers: number[] = [];
  let turns = 0;
  let fire: (() => void) | undefined;
  const loop: EventLoop = {
    performance: { now: () => now },
    Date: { now: () => now },
    setTimeout: (callback, milliseconds) => {
      timers.push(milliseconds);
      fire = callback;
      return 1;
    },
    clearTimeout: () => {
      fire = undefined;
    },
    setImmediate: (callback) => {
      turns++;
      now += 0.02;
      queueMicrotask(callback);
    },
  };
  return { loop, timers, turns: () => turns, fire: () => fire?.() };
}

describe('a host on an event loop', () => {
  it('waits for less than a timer can in turns, and ends when something happens', async () => {
    const { loop, timers, turns } = createLoop();
    const host = createEventLoopHost(loop);
    expect(await host.sleep(200_000)).toBe(true);
    expect(timers).toEqual([]);
    expect(turns()).toBeGreaterThanOrEqual(9);
    expect(turns()).toBeLessThanOrEqual(11);
    const before = turns();
    const sleeping = host.sleep(290_000);
    host.wake();
    await sleeping;
    expect(turns()).toBe(before + 1);
  });

  it.each([
    [700_000, 1],
    [1_200_000, 1],
    [1_400_000, 2],
    [3_700_000, 4],
    [Infinity, 60_000],
  ])('waits %d ns by a timer of %d ms', async (ns, milliseconds) => {
    const { loop, timers, fire } = createLoop();
    const host = createEventLoopHost(loop);
    const sleeping = host.sleep(ns);
    expect(timers).toEqual([milliseconds]);
    fire();
    expect(await sleeping).toBe(true);
  });

  it('waits by a timer for what may last longer, if the sleep before was cut short', async () => {
    const { loop, timers, turns, fire } = createLoop();
    const host = createEventLoopHost(loop);
    expect(await host.sleep(100_000, 2_000_000)).toBe(true);
    const cut = host.sleep(100_000, 2_000_000);
    host.wake();
    await cut;
    expect(await host.sleep(100_000, 100_000)).toBe(true);
    const cutAgain = host.sleep(100_000, 2_000_000);
    host.wake();
    await cutAgain;
    expect(timers).toEqual([]);
    const before = turns();
    const sleeping = host.sleep(100_000, 2_000_000);
    expect(timers).toEqual([1]);
    fire();
    expect(await sleeping).toBe(true);
    expect(turns()).toBe(before);
    // That one was not cut short.
    expect(await host.sleep(100_000, 2_000_000)).toBe(true);
    expect(timers).toEqual([1]);
  });

  it('is woken from a timer', async () => {
    const { loop } = createLoop();
    const host = createEventLoopHost(loop);
    const sleeping = host.sleep(50_000_000);
    host.wake();
    expect(await sleeping).toBe(true);
  });
});

/** A browser's event loop: no `setImmediate`, and a timer that the fifth timer in a row sets takes 4 ms at least. */
function createBrowserLoop() {
  let now = 0;
  let depth = 0;
  const queue: { at: number; run: () => void; depth: number }[] = [];
  const post = (at: number, run: () => void, level: number): void => void queue.push({ at, run, depth: level });
  const port1 = { onmessage: null as ((event: never) => void) | null };
  const loop: EventLoop = {
    performance: { now: () => now },
    Date: { now: () => now },
    setTimeout: (callback, milliseconds) => post(now + (depth > 5 ? Math.max(4, milliseconds) : milliseconds), callback, depth + 1),
    clearTimeout: () => {},
    MessageChannel: class {
      readonly port1 = port1;
      readonly port2 = { postMessage: () => post(now + 0.01, () => port1.onmessage?.(undefined as never), 0) };
    },
  };
  /** Runs tasks, earliest first, with the microtasks of each, until this has come. */
  const until = async (done: Promise<unknown>): Promise<void> => {
    let pending = true;
    void done.then(() => (pending = false));
    for (;;) {
      await new Promise(setImmediate);
      if (!pending) return;
      const task = queue.reduce((first, other) => (other.at < first.at ? other : first));
      queue.splice(queue.indexOf(task), 1);
      now = Math.max(now, task.at);
      depth = task.depth;
      task.run();
    }
  };
  return { loop, until, now: () => now };
}

describe("a host on a browser's event loop", () => {
  const often = async (act: () => Promise<unknown>): Promise<void> => {
    for (let i = 0; i < 20; i++) await act();
  };

  it('gives turns away that are no timers, which would take 4 ms', async () => {
    const { loop, until, now } = createBrowserLoop();
    const host = createEventLoopHost(loop);
    await until(often(() => host.yieldTurn()));
    expect(now()).toBeLessThan(1);
  });

  it('waits no longer than asked when one wait follows the other', async () => {
    const { loop, until, now } = createBrowserLoop();
    const host = createEventLoopHost(loop);
    await until(often(() => host.sleep(1_000_000)));
    expect(now()).toBeLessThan(21);
  });

  it('makes do with timers', async () => {
    const { loop, until, now } = createBrowserLoop();
    const { MessageChannel: _, ...timersOnly } = loop;
    const host = createEventLoopHost(timersOnly);
    await until(often(() => host.yieldTurn()));
    expect(now()).toBeGreaterThan(4);
  });
});
