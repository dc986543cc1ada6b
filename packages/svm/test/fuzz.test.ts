import { createDeterministicRandom } from '@nestvm/cpu';
import { GUEST_MODE } from '@nestvm/cpu/extension';
import { expect, it } from 'vitest';
import { Vmcb } from '../src/index.js';
import { At, Board } from './support/board.js';

/** How many VMCBs; `SVM_FUZZ=1000000` for the long run. */
const ROUNDS = Number(process.env['SVM_FUZZ'] ?? 20_000);
const WORDS = 1024;
/** Values that are often on an edge of something. */
const SPECIAL = [
  0,
  -1,
  1,
  0x80000000 | 0,
  0x7fffffff,
  0x1000,
  0xfff,
  At.VMCB,
  At.TABLES,
  At.NESTED,
  0x1d00,
  0x1000,
  0x80010011 | 0,
  0x20,
  0x6f8,
  0x202,
  0x80000b0e | 0,
  0x80000440 | 0,
  0x80000300 | 0,
];
/** Guests: a loop of nothing, string I/O, MSR and control-register traffic, a page fault, an undefined instruction, far returns. */
const GUESTS: readonly (readonly number[])[] = [
  [0x90, 0xeb, 0xfd],
  [0xf3, 0x6c, 0xf3, 0x6e, 0xe6, 0x80, 0xed, 0xf4],
  [0x0f, 0x32, 0x0f, 0x30, 0x0f, 0x20, 0xc0, 0x0f, 0x22, 0xd8, 0x0f, 0x01, 0xd9],
  [0xff, 0x30, 0x8f, 0x00, 0x9c, 0x9d, 0xcf, 0xcb],
  [0x0f, 0x0b, 0xcc, 0xcd, 0x80, 0xf1],
  [0x0f, 0x01, 0xd8, 0x0f, 0x01, 0xda, 0x0f, 0x01, 0xdb, 0x0f, 0x01, 0xdc, 0x0f, 0x01, 0xdd, 0x0f, 0x01, 0xdf],
  [0xfb, 0xf4, 0x0f, 0x01, 0xc9, 0xf3, 0x90, 0x0f, 0xa2, 0x0f, 0x31],
];

it(`${ROUNDS} random VMCBs end in an exit, a shutdown or go on, and never in an error of the emulator`, { timeout: 30 * 60_000 }, () => {
  const board = new Board();
  const random = createDeterministicRandom(Number(process.env['SVM_SEED'] ?? 7));
  const next = (bound: number): number => (random.next() >>> 0) % bound;
  const { i32 } = board.arena;
  const vmcb = i32.slice(board.v, board.v + WORDS);
  const state = board.cpu.w.slice();
  const tables = new Uint8Array(board.arena.memory.buffer, board.view.byteOffset + At.TABLES, 0x3000).slice();
  const nested = new Uint8Array(board.arena.memory.buffer, board.view.byteOffset + At.NESTED, 0x3000).slice();
  const ram = new Uint8Array(board.arena.memory.buffer, board.view.byteOffset, 0x60000);
  // Code stays where it is, so that it is decoded once; a guest that writes over it only makes the next ones stranger.
  GUESTS.forEach((code, i) => board.code(At.GUEST + 0x40 * i, ...code));
  board.code(At.HOST, 0x0f, 0x01, 0xd8, 0xf4);
  let exits = 0;
  let ran = 0;
  for (let round = 0; round < ROUNDS; round++) {
    board.cpu.w.set(state);
    board.svm.context.mmu.reset();
    ram.set(tables, At.TABLES);
    ram.set(nested, At.NESTED);
    i32.set(vmcb, board.v);
    i32[board.v + Vmcb.RIP] = At.GUEST + 0x40 * next(GUESTS.length);
    const changes = round % 50 === 0 ? 600 : 1 + next(6);
    for (let n = 0; n < changes; n++) {
      const word = next(4) === 0 ? next(WORDS) : next(2) === 0 ? next(0x100 >>> 2) : (0x400 >>> 2) + next(0x280 >>> 2);
      const value = next(3) === 0 ? random.next() : next(2) === 0 ? SPECIAL[next(SPECIAL.length)]! : i32[board.v + word]! ^ (1 << next(32));
      i32[board.v + word] = value;
    }
    board.cpu.virtualization = board.svm;
    board.lines.vector = next(4) === 0 ? 0x30 + next(200) : -1;
    board.lines.nmi = next(16) === 0;
    board.cpu.attention = 1;
    // Most rounds are the world switch alone, with an event or two; the others run the guest for a while.
    board.interpreter.run(round % 16 === 0 ? 12 : 0);
    if (board.cpu.w[GUEST_MODE] === 0) exits++;
    if (i32[board.v + Vmcb.EXIT_CODE] !== -1) ran++;
  }
  console.info(`random VMCBs: ${ROUNDS} rounds: ${ran} consistent, ${exits} ended with an exit`);
  // Neither all nor none of them are consistent.
  expect(ran).toBeGreaterThan(ROUNDS / 10);
  expect(ran).toBeLessThan(ROUNDS);
  expect(exits).toBeGreaterThan(ROUNDS / 10);
});
