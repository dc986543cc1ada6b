import { describe, expect, it } from 'vitest';
import { nsToTicks, ticksToNs, VirtualClock } from './clock.js';

describe('tick conversion', () => {
  const frequencies = [1, 32_768, 1_193_182, 3_579_545, 100_000_000, 1_000_000_000, 14_318_180, 24_000_000];
  it('agrees with integers of any size', () => {
    let seed = 1;
    for (let i = 0; i < 20_000; i++) {
      seed = (Math.imul(seed, 1_664_525) + 1_013_904_223) >>> 0;
      const hz = frequencies[seed % frequencies.length];
      const ns = (seed % 4096) * 1_000_000_007 + (seed >>> 3);
      expect(nsToTicks(ns, hz)).toBe(Number((BigInt(ns) * BigInt(hz)) / 1_000_000_000n));
      const ticks = nsToTicks(ns, hz);
      const back = ticksToNs(ticks, hz);
      expect(back).toBe(Number((BigInt(ticks) * 1_000_000_000n + BigInt(hz) - 1n) / BigInt(hz)));
      expect(nsToTicks(back, hz)).toBe(ticks);
    }
  });
});

describe('VirtualClock', () => {
  it('fires in order of deadline, ties in order of creation', () => {
    const clock = new VirtualClock();
    const fired: string[] = [];
    const a = clock.createTimer('a', () => fired.push('a'));
    const b = clock.createTimer('b', () => fired.push('b'));
    const c = clock.createTimer('c', () => fired.push('c'));
    c.arm(10);
    b.arm(20);
    a.arm(20);
    expect(clock.nextDeadlineNs()).toBe(10);
    clock.advanceTo(9);
    expect(fired).toEqual([]);
    clock.advanceTo(20);
    expect(fired).toEqual(['c', 'a', 'b']);
    expect(clock.nextDeadlineNs()).toBe(Infinity);
  });

  it('ends a turn though a callback keeps arming the past', () => {
    const clock = new VirtualClock();
    let count = 0;
    const timer = clock.createTimer('t', () => {
      count++;
      timer.arm(0);
    });
    timer.arm(5);
    clock.advanceTo(100);
    expect(count).toBe(1);
    expect(clock.nextDeadlineNs()).toBe(0);
    clock.advanceTo(100);
    expect(count).toBe(2);
  });

  it('fires a timer that another callback armed for the future only when due', () => {
    const clock = new VirtualClock();
    let at = -1;
    const second = clock.createTimer('second', () => (at = clock.nowNs()));
    const first = clock.createTimer('first', () => second.arm(clock.nowNs() + 7));
    first.arm(3);
    clock.advanceTo(5);
    expect(clock.nextDeadlineNs()).toBe(12);
    clock.advanceTo(12);
    expect(at).toBe(12);
  });

  it('re-arming an idle timer replaces its deadline, cancelling silences it', () => {
    const clock = new VirtualClock();
    let count = 0;
    const timer = clock.createTimer('t', () => count++);
    timer.arm(5);
    timer.arm(50);
    clock.advanceTo(10);
    expect(count).toBe(0);
    timer.cancel();
    clock.advanceTo(100);
    expect(count).toBe(0);
  });

  it('follows its source and never runs backwards', () => {
    const clock = new VirtualClock();
    let source = 10;
    clock.setSource(() => source);
    expect(clock.nowNs()).toBe(10);
    source = 4;
    expect(clock.nowNs()).toBe(10);
    clock.advanceTo(7);
    expect(clock.nowNs()).toBe(10);
  });

  it('goes at the pace of its source while it follows that', () => {
    const clock = new VirtualClock();
    expect(clock.pace().instructions).toBe(0);
    let source = 10;
    clock.setSource(
      () => source,
      () => ({ instructions: 100, nsPerInstruction: 2 }),
    );
    expect(clock.pace().instructions).toBe(0);
    clock.nowNs();
    expect(clock.pace()).toEqual({ instructions: 100, nsPerInstruction: 2 });
    source = 4;
    clock.nowNs();
    expect(clock.pace().instructions).toBe(0);
  });

  it('tells the machine when a nearer deadline appears', () => {
    const clock = new VirtualClock();
    let told = 0;
    clock.setEarlierDeadlineListener(() => told++);
    const a = clock.createTimer('a', () => {});
    const b = clock.createTimer('b', () => {});
    a.arm(100);
    b.arm(200);
    expect(told).toBe(1);
    b.arm(50);
    expect(told).toBe(2);
  });
});
