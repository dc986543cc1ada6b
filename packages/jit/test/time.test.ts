import { expect, it } from 'vitest';
import { attachJit } from '../src/index.js';
import { type Board, createBoard } from './support/board.js';

/** mov ecx, 2000; again: rdtsc; add rbx, rax; imul rbx, rbx, 3; dec ecx; jnz again; hlt. */
const PROGRAM = [0xb9, 0xd0, 0x07, 0, 0, 0x0f, 0x31, 0x48, 0x01, 0xc3, 0x48, 0x6b, 0xdb, 0x03, 0xff, 0xc9, 0x75, 0xf3, 0xf4];
const NS = 4;

/** Runs the program on a clock of so many nanoseconds for each instruction, in slices, and tells what it made of the time and how often the clock was asked. */
function run({ paced, compile }: { paced: number; compile: boolean }): { sum: bigint; asked: number; compiled: number } {
  let asked = 0;
  const clock = {
    nowNs: () => {
      asked++;
      return board.executor.retired * NS;
    },
    pace: () => ({ instructions: paced, nsPerInstruction: NS }),
  };
  const board: Board = createBoard(PROGRAM, { clock });
  const jit = compile ? attachJit(board.engine, { threshold: 3 }) : null;
  while (board.executor.run(3000) === 'budget');
  return { sum: board.register('RBX'), asked, compiled: jit?.counters.instructions ?? 0 };
}

it('the time-stamp counter is counted on in generated and compiled code, to what the clock would have said', () => {
  const expected = run({ paced: 0, compile: false });
  expect(expected.asked).toBe(2000);
  for (const compile of [false, true]) {
    for (const [paced, most] of [
      [0, 2000],
      [100, 120],
      [2 ** 30, 8],
    ] as const) {
      const { sum, asked, compiled } = run({ paced, compile });
      expect(sum).toBe(expected.sum);
      expect(asked).toBeLessThanOrEqual(most);
      if (compile) expect(compiled).toBeGreaterThanOrEqual(5);
    }
  }
});
