import { meanings } from '@nestvm/semantics';
import { expect, it } from 'vitest';
import { Engine } from '../src/engine.js';
import { Interpreter } from '../src/executor.js';
import { updateMode } from '../src/mode.js';
import { createDeterministicRandom } from '../src/ports/random.js';
import { word } from '../src/words.js';
import { At, Board } from './support/board.js';
import { bytes32, countCalls } from './support/generated.js';

const HLT = 0xf4;
const PAGES = 16;
const STEPS = 60;
const PROGRAMS = 200;
const plain = Object.fromEntries(Object.entries(meanings).filter(([name]) => name !== 'INVLPG'));

/** A machine whose generated code walks tables and carries INVLPG out, or leaves that to TypeScript. */
function machine(isGenerated: boolean): { board: Board; executor: Interpreter; calls: () => number } {
  const board = new Board('max', { walks: true });
  const engine = new Engine(board.arena, board.memory, { recordBytes: 1 << 18, ...(isGenerated ? {} : { meanings: plain }) });
  const executor = new Interpreter(board.cpu, engine);
  return { board, executor, calls: countCalls(executor) };
}

/** Loads from pages, changes of their table entries, and INVLPG, at random; stale translations show in the sum. */
function program(seed: number): number[] {
  const source = createDeterministicRandom(seed);
  const below = (count: number): number => (source.next() >>> 0) % count;
  const code: number[] = [];
  for (let step = 0; step < STEPS; step++) {
    const page = below(PAGES);
    const kind = below(4);
    const linear = bytes32(At.DATA + page * 0x1000);
    // mov rax, [page]; add rbx, rax; rol rbx, 1
    if (kind < 2) code.push(0x48, 0x8b, 0x04, 0x25, ...linear, 0x48, 0x01, 0xc3, 0x48, 0xd1, 0xc3);
    // mov qword [entry], frame
    else if (kind === 2)
      code.push(0x48, 0xc7, 0x04, 0x25, ...bytes32(At.PT + 8 * ((At.DATA >>> 12) + page)), ...bytes32((At.DATA + below(PAGES) * 0x1000) | 0x67));
    // invlpg [page]
    else code.push(0x0f, 0x01, 0x3c, 0x25, ...linear);
  }
  return [...code, HLT];
}

it('INVLPG forgets what the full implementation forgets, and needs no TypeScript where no large page is near', () => {
  const sides = [machine(true), machine(false)] as const;
  for (let seed = 1; seed <= PROGRAMS; seed++) {
    const code = program(seed);
    for (const { board, executor } of sides) {
      const { cpu, view } = board;
      board.memory.write(At.CODE, Uint8Array.from(code));
      for (let page = 0; page < PAGES; page++) {
        view.setBigUint64(At.PT + 8 * ((At.DATA >>> 12) + page), BigInt(At.DATA + page * 0x1000) | 0x67n, true);
        view.setBigUint64(At.DATA + page * 0x1000, BigInt(page + 1) * 0x1234_5678_9abcn, true);
      }
      board.long(0);
      cpu.setGpr(3, 0n);
      cpu.w[word('activity')] = 0;
      updateMode(cpu);
      expect(executor.run(10_000)).toBe('idle');
    }
    expect(sides[0].board.cpu.gpr(3), `program ${seed}`).toBe(sides[1].board.cpu.gpr(3));
    expect(sides[0].executor.retired).toBe(sides[1].executor.retired);
  }
  // HLT alone.
  expect(sides[0].calls()).toBe(PROGRAMS);
  expect(sides[1].calls()).toBeGreaterThan(5 * PROGRAMS);
});
