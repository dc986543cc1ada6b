import type { Vcpu } from '@nestvm/cpu';
import { expect, it } from 'vitest';
import { MISC } from '../capabilities/tables.js';
import { PreemptionTimer } from './preemption-timer.js';

const TICK = 2 ** MISC.TIMER_SHIFT;

/** A timer on a clock that stands at `now`, and what was asked of the machine's timer and of the vCPU. */
function arrange(): { timer: PreemptionTimer; clock: { now: number }; armed: number[]; cpu: { attention: number }; fire: () => void } {
  const clock = { now: 0 };
  const armed: number[] = [];
  const cpu = { index: 0, w: new Int32Array(1024), attention: 0, requestAttention: () => void (cpu.attention = 1) };
  let fire = (): void => undefined;
  const timer = new PreemptionTimer(cpu as unknown as Vcpu, {
    nowNs: () => clock.now,
    createTimer: (_name, callback) => {
      fire = callback;
      return { arm: (at) => void armed.push(at), cancel: () => void armed.push(-1) };
    },
  });
  return { timer, clock, armed, cpu, fire: () => fire() };
}

it('counts down whenever its bit of the TSC changes, and expires at that very instant', () => {
  const { timer, clock, armed } = arrange();
  // In the middle of a period: the first count comes at the end of it.
  clock.now = 5 * TICK + TICK / 2;
  timer.start(3);
  expect(armed).toEqual([8 * TICK]);
  expect([timer.value, timer.expired]).toEqual([3, false]);
  clock.now = 6 * TICK - 1;
  expect(timer.value).toBe(3);
  clock.now = 6 * TICK;
  expect(timer.value).toBe(2);
  clock.now = 8 * TICK - 1;
  expect([timer.value, timer.expired]).toEqual([1, false]);
  clock.now = 8 * TICK;
  expect([timer.value, timer.expired]).toEqual([0, true]);
  // It stays at zero.
  clock.now = 80 * TICK;
  expect([timer.value, timer.expired]).toEqual([0, true]);
});

it('of zero expires at once, without a timer of the machine', () => {
  const { timer, armed, cpu } = arrange();
  timer.start(0);
  expect([timer.expired, timer.value, armed, cpu.attention]).toEqual([true, 0, [], 1]);
});

it('is unsigned, asks for attention when it fires, and is silent once stopped', () => {
  const { timer, clock, armed, cpu, fire } = arrange();
  timer.start(-1);
  expect(armed).toEqual([0xffff_ffff * TICK]);
  expect(timer.value >>> 0).toBe(0xffff_ffff);
  fire();
  expect(cpu.attention).toBe(1);
  timer.stop();
  clock.now = 2 ** 50;
  expect([timer.expired, timer.value]).toEqual([false, 0]);
});

it('goes on after a load at the deadline that the state holds', () => {
  const { timer, clock, armed } = arrange();
  timer.start(3);
  timer.stop();
  clock.now = TICK;
  timer.resume();
  expect(armed).toEqual([3 * TICK, -1, 3 * TICK]);
  expect(timer.value).toBe(2);
});
