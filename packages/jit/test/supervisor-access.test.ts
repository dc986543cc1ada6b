import { updateMode } from '@nestvm/cpu';
import { Cr4, Gpr } from '@nestvm/isa';
import { expect, it } from 'vitest';
import { attachJit } from '../src/index.js';
import { At, createBoard } from './support/board.js';

/** mov ecx, 3000; again: stac; mov rax, [rsi]; clac; add rbx, rax; cmp ecx, 1; cmove rdx, rsi; mov rdi, [rdx]; dec ecx; jnz again; hlt: in the last turn it reads a user's page without leave. */
const PROGRAM = [
  0xb9, 0xb8, 0x0b, 0, 0, 0x0f, 0x01, 0xcb, 0x48, 0x8b, 0x06, 0x0f, 0x01, 0xca, 0x48, 0x01, 0xc3, 0x83, 0xf9, 0x01, 0x48, 0x0f, 0x44, 0xd6, 0x48,
  0x8b, 0x3a, 0xff, 0xc9, 0x75, 0xe6, 0xf4,
];
const LOOP_LENGTH = 9;
/** Of the physical page `At.DATA`. */
const USER = 0x24_0000;
/** Present, writable, a user's, accessed, dirty and large. */
const USER_PAGE = 0xe7;

it('between STAC and CLAC a region has the pages of users, and outside it has not', () => {
  const run = (compile: boolean): { board: ReturnType<typeof createBoard>; compiled: number } => {
    const board = createBoard(PROGRAM);
    const jit = compile ? attachJit(board.engine, { threshold: 3 }) : null;
    const { cpu, executor, memory, mmu } = board;
    for (const table of [0x1000, 0x2000]) memory.write32(table, (table + 0x1000) | 7);
    memory.write32(0x3008, USER_PAGE);
    memory.write32(At.DATA, 7);
    cpu.set64('cr4', cpu.get64('cr4') | BigInt(Cr4.SMAP));
    updateMode(cpu);
    mmu.flushAll();
    cpu.setGpr(Gpr.RSI, BigInt(USER));
    cpu.setGpr(Gpr.RDX, BigInt(At.DATA + 0x1000));
    expect(executor.run(100_000)).toBe('shutdown');
    return { board, compiled: jit?.counters.instructions ?? 0 };
  };
  const [plain, compiled] = [run(false), run(true)];
  for (const { board } of [plain, compiled]) {
    expect([board.register('RBX'), board.register('RCX')]).toEqual([21_000n, 1n]);
    expect([board.cpu.get64('cr2'), board.register('RDI')]).toEqual([BigInt(USER), 0n]);
  }
  expect(compiled.board.cpu.rip).toBe(plain.board.cpu.rip);
  expect(compiled.board.executor.retired).toBe(plain.board.executor.retired);
  expect(compiled.compiled).toBeGreaterThanOrEqual(LOOP_LENGTH);
});
