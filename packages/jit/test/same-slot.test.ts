import { Gpr } from '@nestvm/isa';
import { expect, it } from 'vitest';
import { createBoard } from './support/board.js';

const TURNS = 1000;
/** again: call rsi; call rdi; dec ecx; jnz again; hlt */
const PROGRAM = [0xff, 0xd6, 0xff, 0xd7, 0xff, 0xc9, 0x75, 0xf8, 0xf4];
/** inc rax; ret */
const FUNCTION = [0x48, 0xff, 0xc0, 0xc3];
/** Of the block cache, whose slots are chosen by 17 bits of an address in words of four bytes, and of what is 13 bits higher. */
const [SLOTS, WORD, HIGHER] = [1 << 17, 2, 15];

it('two functions in one slot of the block cache are both found there', () => {
  const board = createBoard(PROGRAM);
  const { cpu, executor, memory, ram } = board;
  const slotOf = (address: number): number => (((ram.byteOffset + address) >>> WORD) ^ ((ram.byteOffset + address) >>> HIGHER)) % SLOTS;
  const first = 0x50000;
  let second = first + 0x1000;
  while (slotOf(second) !== slotOf(first)) second++;
  expect(second).toBeLessThan(ram.length);
  for (const address of [first, second]) memory.write(address, Uint8Array.from(FUNCTION));
  cpu.setGpr(Gpr.RSI, BigInt(first));
  cpu.setGpr(Gpr.RDI, BigInt(second));
  cpu.setGpr(Gpr.RCX, BigInt(TURNS));
  let misses = 0;
  const miss = executor.missHere.bind(executor);
  executor.missHere = () => {
    misses++;
    return miss();
  };
  expect(executor.run(100_000)).toBe('idle');
  expect(board.register('RAX')).toBe(2n * BigInt(TURNS));
  expect(misses).toBeLessThan(20);
});
