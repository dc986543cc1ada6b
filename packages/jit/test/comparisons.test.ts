import { Gpr } from '@nestvm/isa';
import { expect, it } from 'vitest';
import { attachJit } from '../src/index.js';
import { At, createBoard } from './support/board.js';

const TURNS = 600;
const CASES = 0x60000;
const ROOM = 0x2000;

/**
 * mov ebp, TURNS; again: movzx ecx, word [r12 + rbp * 8]; movzx esi, word [r12 + rbp * 8 + 2]; movzx edi, word [r12 + rbp * 8 + 4]; movzx eax, byte [r12 + rbp * 8 + 6];
 * imul rax, r15; add rsi, r13; add rdi, r14; (the comparison); pushf; pop rdx; lea rbx, [rbx + rbx * 2]; add rbx, rdx; add rbx, rsi; add rbx, rdi; add rbx, rcx;
 * dec ebp; jnz again; hlt
 */
function program(comparison: readonly number[]): number[] {
  const load = [
    0x41, 0x0f, 0xb7, 0x0c, 0xec, 0x41, 0x0f, 0xb7, 0x74, 0xec, 0x02, 0x41, 0x0f, 0xb7, 0x7c, 0xec, 0x04, 0x41, 0x0f, 0xb6, 0x44, 0xec, 0x06,
  ];
  const place = [0x49, 0x0f, 0xaf, 0xc7, 0x4c, 0x01, 0xee, 0x4c, 0x01, 0xf7];
  const sum = [0x9c, 0x5a, 0x48, 0x8d, 0x1c, 0x5b, 0x48, 0x01, 0xd3, 0x48, 0x01, 0xf3, 0x48, 0x01, 0xfb, 0x48, 0x01, 0xcb, 0xff, 0xcd];
  const body = [...load, ...place, ...comparison, ...sum];
  return [0xbd, TURNS & 0xff, TURNS >> 8, 0, 0, ...body, 0x75, 256 - body.length - 2, 0xf4];
}
/** The same without a prefix: top: jrcxz end; (one element); lea rcx, [rcx - 1]; je or jne top; end. */
function loop(element: readonly number[], whileEqual: boolean): number[] {
  const back = element.length + 8;
  return [0xe3, element.length + 6, ...element, 0x48, 0x8d, 0x49, 0xff, whileEqual ? 0x74 : 0x75, 256 - back];
}

const ELEMENTS: Readonly<Record<string, readonly number[]>> = {
  cmpsb: [0xa6],
  cmpsw: [0x66, 0xa7],
  cmpsd: [0xa7],
  cmpsq: [0x48, 0xa7],
  scasb: [0xae],
  scasw: [0x66, 0xaf],
  scasd: [0xaf],
  scasq: [0x48, 0xaf],
};

/** Text that repeats, with a byte of its own here and there, twice; and what to compare where: lengths, places (some at the ends of pages), the accumulator. */
function fill(ram: Uint8Array): void {
  let seed = 11;
  const next = (below: number): number => ((seed = (Math.imul(seed, 1103515245) + 12345) & 0x7fffffff), (seed >> 8) % below);
  for (const start of [0, ROOM]) ram.fill(0x41, At.DATA + start, At.DATA + start + ROOM);
  for (let i = 0; i < 24; i++) ram[At.DATA + next(2 * ROOM)] = 0x41 + next(3);
  const view = new DataView(ram.buffer, ram.byteOffset);
  for (let i = 0; i <= TURNS; i++) {
    view.setUint16(CASES + 8 * i, [0, 1, next(20), next(300), next(1500)][i % 5]!, true);
    view.setUint16(CASES + 8 * i + 2, i % 3 === 0 ? 0x1000 - next(40) : next(0x900), true);
    view.setUint16(CASES + 8 * i + 4, i % 4 === 0 ? 0x1000 - next(40) : next(0x900), true);
    view.setUint8(CASES + 8 * i + 6, 0x41 + next(4));
  }
}

function run(comparison: readonly number[], threshold: number | null): { sum: bigint; retired: number } {
  const board = createBoard(program(comparison));
  if (threshold !== null) attachJit(board.engine, { threshold });
  const { cpu, executor, ram } = board;
  fill(ram);
  cpu.setGpr(Gpr.R12, BigInt(CASES));
  cpu.setGpr(Gpr.R13, BigInt(At.DATA));
  cpu.setGpr(Gpr.R14, BigInt(At.DATA + ROOM));
  cpu.setGpr(Gpr.R15, 0x0101010101010101n);
  expect(executor.run(50_000_000)).toBe('idle');
  return { sum: board.register('RBX'), retired: executor.retired };
}

it.each(Object.entries(ELEMENTS))('%s under REPE and REPNE ends where it does one by one, with the same registers and flags', (_, element) => {
  for (const [prefix, whileEqual] of [
    [0xf3, true],
    [0xf2, false],
  ] as const) {
    const oneByOne = run(loop(element, whileEqual), null);
    const repeated = run([prefix, ...element], null);
    expect(repeated.sum).toBe(oneByOne.sum);
    expect(run([prefix, ...element], 2)).toEqual(repeated);
  }
});
