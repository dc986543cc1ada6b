import { expect, it } from 'vitest';
import { slotOf, spread } from './spread.js';

it('numbers below 4096 get slots of their own, and few slots', () => {
  let state = 7;
  const random = (): number => (state = (Math.imul(state, 1103515245) + 12345) >>> 0) >>> 20;
  for (let turn = 0; turn < 200; turn++) {
    const values = [...new Set(Array.from({ length: 2 + (turn % 30) }, random))];
    const form = spread(values);
    const slots = values.map((value) => slotOf(value, form));
    expect(new Set(slots).size).toBe(values.length);
    expect(Math.max(...slots)).toBeLessThan(1 << form.bits);
    expect(form.bits).toBeLessThanOrEqual(12);
  }
  expect(spread([0x100, 0x110, 0x120, 0x130]).bits).toBe(2);
});
