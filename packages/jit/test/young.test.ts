import { expect, it } from 'vitest';
import { attachJit, type JitOptions } from '../src/index.js';
import { createBoard } from './support/board.js';

/** A loop that is hot after so many turns is compiled when it has waited for others, 16 times as many turns. */
const THRESHOLD = 24;

const word = (value: number): number[] => [value & 0xff, value >> 8, 0, 0];
/** dec ecx; jnz here */
const AGAIN = [0xff, 0xc9, 0x75, 0xfc];
/** mov ecx, turns; the loop */
const loop = (turns: number): number[] => [0xb9, ...word(turns), ...AGAIN];
const HLT = 0xf4;

/** How many regions of a program are compiled. */
function regions(program: readonly number[], options: JitOptions): number {
  const board = createBoard([...program]);
  const jit = attachJit(board.engine, options);
  expect(board.executor.run(1e6)).toBe('idle');
  return jit.counters.regions;
}

it('in a young engine code is compiled after eight times as many turns', () => {
  const young = { threshold: THRESHOLD, youth: 1e6 };
  expect(regions([...loop(20 * THRESHOLD), HLT], young)).toBe(0);
  expect(regions([...loop(32 * THRESHOLD), HLT], young)).toBe(1);
  expect(regions([...loop(20 * THRESHOLD), HLT], { threshold: THRESHOLD, youth: 0 })).toBe(1);
});

it('turns are as few as asked for where a threshold is given', () => {
  expect(regions([...loop(20 * THRESHOLD), HLT], { threshold: THRESHOLD })).toBe(1);
});

it('what has had its turns while the engine was young is hot at its next turn', () => {
  /** mov edx, turns; call function, whose address is relative to the end of this */
  const call = (turns: number, distance: number): number[] => [0xba, ...word(turns), 0xe8, ...word(distance)];
  const between = loop(3 * THRESHOLD);
  const last = call(19 * THRESHOLD, 1);
  // mov ecx, edx; the loop; ret
  const callee = [0x89, 0xd1, ...AGAIN, 0xc3];
  const program = [...call(4 * THRESHOLD, between.length + last.length + 1), ...between, ...last, HLT, ...callee];
  expect(regions(program, { threshold: THRESHOLD, youth: 1e6 })).toBe(0);
  expect(regions(program, { threshold: THRESHOLD, youth: 8 * THRESHOLD })).toBe(1);
});
