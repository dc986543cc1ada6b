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

  it('is woken from a timer', async () => {
    const { loop } = createLoop();
    const host = createEventLoopHost(loop);
    const sleeping = host.sleep(50_000_000);
    host.wake();
    expect(await sleeping).toBe(true);
  });
});
