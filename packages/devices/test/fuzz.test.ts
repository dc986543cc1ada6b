import { describe, expect, it } from 'vitest';
import type { SavableDevice } from '../src/saved-state.js';
import { random } from './board.js';
import { Board, step, touched } from './hostile-board.js';

/** Compares two boards unit by unit, naming the first difference briefly. */
function expectSame(one: Board, other: Board): void {
  for (const [name, unit] of one.units) {
    const [left, right] = [unit.save(), other.units.get(name)?.save()].map((state) => Object.entries(state as object)) as [string, unknown][][];
    left.forEach(([key, value], index) => {
      const [was, is] = [JSON.stringify(right[index][1]), JSON.stringify(value)];
      if (was !== is) throw new Error(`${name}.${key}: ${is.slice(0, 300)} instead of ${was.slice(0, 300)}`);
    });
  }
}

const OPERATIONS = Number(globalThis.process?.env['NESTVM_FUZZ_OPERATIONS'] ?? 600_000);

describe.each(['i440fx', 'q35'] as const)('a guest that touches everything at random (%s)', (chipset) => {
  it(`never makes the board throw or hang in ${OPERATIONS} operations`, () => {
    const board = new Board(chipset);
    const next = random(chipset === 'q35' ? 0x1234567 : 0x7654321);
    let answers = 0;
    for (let i = 0; i < OPERATIONS; i++) {
      if (step(board, next) !== 0) answers++;
      if (i % 1000 === 0) board.clock.advanceTo(board.clock.nowNs() + 1_000_000_000);
      board.messages.length = 0;
    }
    // The run would prove little if nobody had answered.
    expect(answers).toBeGreaterThan(OPERATIONS / 10);
    console.log(`fuzz ${chipset}: ${OPERATIONS} operations, ${board.ports.list().length + board.mmio.list().length} regions`);
  });

  it('behaves the same after save and load at any moment', () => {
    for (let round = 1; round <= 60; round++) {
      const first = new Board(chipset);
      const warm = random(round * 7919);
      const steps = 200 + warm(2000);
      for (let i = 0; i < steps; i++) step(first, warm);
      const second = new Board(chipset);
      const saved = first.saveAll();
      second.clock.restore(first.clock.nowNs());
      second.loadAll(saved, round % 2 === 0);
      expectSame(second, first);
      first.bus.setCurrent(() => first.apics[0]);
      second.bus.setCurrent(() => second.apics[0]);
      const seed = warm(2 ** 31);
      const one = random(seed);
      const two = random(seed);
      for (let i = 0; i < 400; i++) {
        expect(first.mmio.list()).toEqual(second.mmio.list());
        expect(`${step(second, two)} at ${i}: ${touched}`).toBe(`${step(first, one)} at ${i}: ${touched}`);
        if (i % 50 === 0) expectSame(second, first);
      }
    }
  }, 900_000);

  it('refuses damaged state by name and keeps running', () => {
    const board = new Board(chipset);
    const next = random(99);
    for (let round = 0; round < 2000; round++) {
      const names = [...board.units.keys()];
      const name = names[next(names.length)];
      const unit = board.units.get(name) as SavableDevice<unknown>;
      const data = JSON.parse(JSON.stringify(unit.save())) as Record<string, unknown>;
      const keys = Object.keys(data);
      const key = keys[next(keys.length)];
      data[key] = [undefined, -1, 2 ** 60, 'x', null, [], {}, Number.NaN, 1.5][next(9)];
      try {
        unit.load(data);
      } catch (error) {
        expect((error as { code?: string }).code).toBe('bad-state');
      }
      step(board, next);
    }
  });
});
