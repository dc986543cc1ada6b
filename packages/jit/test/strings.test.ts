import { Gpr } from '@nestvm/isa';
import { expect, it } from 'vitest';
import { attachJit } from '../src/index.js';
import { At, createBoard } from './support/board.js';

const TURNS = 400;
const LENGTHS = 0x60000;
/**
 * mov ebp, TURNS; again: movzx ecx, word [r12 + rbp * 4]; movzx eax, word [r12 + rbp * 4 + 2]; lea rsi, [r13 + rax]; lea rdi, [r14 + rax * 2]; (the instruction);
 * add rbx, rsi; add rbx, rdi; add rbx, rcx; cld; dec ebp; jnz again; hlt
 */
const program = (instruction: readonly number[]): number[] => {
  const load = [0x41, 0x0f, 0xb7, 0x0c, 0xac, 0x41, 0x0f, 0xb7, 0x44, 0xac, 0x02, 0x49, 0x8d, 0x74, 0x05, 0x00, 0x49, 0x8d, 0x3c, 0x46];
  const body = [...load, ...instruction, 0x48, 0x01, 0xf3, 0x48, 0x01, 0xfb, 0x48, 0x01, 0xcb, 0xfc, 0xff, 0xcd];
  return [0xbd, TURNS & 0xff, TURNS >> 8, 0, 0, ...body, 0x75, 256 - body.length - 2, 0xf4];
};
const INSTRUCTIONS: Readonly<Record<string, readonly number[]>> = {
  'rep movsb': [0xf3, 0xa4],
  'rep movsw': [0xf3, 0x66, 0xa5],
  'rep movsq': [0xf3, 0x48, 0xa5],
  'rep movsb, 32-bit addresses': [0xf3, 0x67, 0xa4],
  'rep stosb': [0xf3, 0xaa],
  'rep stosd': [0xf3, 0xab],
  'rep stosq': [0xf3, 0x48, 0xab],
  'std; rep movsb': [0xfd, 0xf3, 0xa4],
};

it.each(Object.entries(INSTRUCTIONS))('%s in a region does what the interpreter does, also across pages and over itself', (_, instruction) => {
  const run = (threshold: number | null) => {
    const board = createBoard(program(instruction));
    const jit = threshold === null ? null : attachJit(board.engine, { threshold });
    const { cpu, executor, ram } = board;
    for (let i = 0; i < 0x8000; i++) ram[At.DATA + i] = (i * 7) ^ (i >> 5);
    let seed = 7;
    for (let i = 0; i <= TURNS; i++) {
      seed = (Math.imul(seed, 1103515245) + 12345) & 0x7fffffff;
      const length = [0, 1, seed % 40, seed % 300, seed % 2000][i % 5]!;
      new DataView(ram.buffer, ram.byteOffset).setUint32(LENGTHS + 4 * i, length | (((seed >> 9) % 1500) << 16), true);
    }
    cpu.setGpr(Gpr.R12, BigInt(LENGTHS));
    cpu.setGpr(Gpr.R13, BigInt(At.DATA + 0x900));
    cpu.setGpr(Gpr.R14, BigInt(At.DATA + 0x800));
    expect(executor.run(10_000_000)).toBe('idle');
    return {
      memory: Buffer.from(ram).toString('base64'),
      sum: board.register('RBX'),
      retired: executor.retired,
      compiled: jit?.counters.instructions ?? 0,
    };
  };
  const plain = run(null);
  for (const threshold of [2, 20]) {
    const { compiled, ...same } = run(threshold);
    expect(compiled).toBeGreaterThanOrEqual(10);
    expect({ ...same, compiled: 0 }).toEqual(plain);
  }
});
