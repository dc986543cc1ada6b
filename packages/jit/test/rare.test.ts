import { Gpr } from '@nestvm/isa';
import { expect, it } from 'vitest';
import { attachJit } from '../src/index.js';
import { createBoard } from './support/board.js';

const CALLS = 900;
const ADDITIONS = 20;
/** The functions are on pages of their own: ways out of a region that lead far must be gone more often than these are to be taken along. */
const SUM = 0x12000;
const WAIT = 0x13000;

/** mov ebp, CALLS; again: call rdx; call rsi; dec ebp; jnz again; hlt */
const MAIN = [0xbd, CALLS & 0xff, CALLS >> 8, 0, 0, 0xff, 0xd2, 0xff, 0xd6, 0xff, 0xcd, 0x75, 0xf8, 0xf4];
/** add rax, rbp, so often; ret */
const ADDING = [...Array.from({ length: ADDITIONS }, () => [0x48, 0x01, 0xe8]).flat(), 0xc3];
/** mov ecx, (turns); on: dec ecx; jnz on; ret */
const waiting = (turns: number): number[] => [0xb9, turns & 0xff, (turns >> 8) & 0xff, turns >> 16, 0, 0xff, 0xc9, 0x75, 0xfc, 0xc3];

/** Instructions that are compiled where so many turns of a loop come between two calls. */
function compiled(turns: number): number {
  const { cpu, engine, executor, memory, register } = createBoard(MAIN);
  const jit = attachJit(engine, { threshold: 128 });
  memory.write(SUM, Uint8Array.from(ADDING));
  memory.write(WAIT, Uint8Array.from(waiting(turns)));
  cpu.setGpr(Gpr.RAX, 0n);
  cpu.setGpr(Gpr.RDX, BigInt(SUM));
  cpu.setGpr(Gpr.RSI, BigInt(WAIT));
  expect(executor.run(150_000_000)).toBe('idle');
  expect(register('RAX')).toBe(BigInt((ADDITIONS * CALLS * (CALLS + 1)) / 2));
  return jit.counters.instructions;
}

it('a function that is called often in all, but seldom, is left to the interpreter', () => {
  expect(compiled(10)).toBeGreaterThan(ADDITIONS);
  expect(compiled(8000)).toBeGreaterThan(ADDITIONS);
  expect(compiled(64_000)).toBeLessThan(ADDITIONS);
  expect(compiled(64_000)).toBeGreaterThan(0);
});
