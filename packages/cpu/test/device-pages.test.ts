import { expect, it } from 'vitest';
import { Engine } from '../src/engine.js';
import { Interpreter } from '../src/executor.js';
import { updateMode } from '../src/mode.js';
import { createDeterministicRandom } from '../src/ports/random.js';
import { word } from '../src/words.js';
import { At, Board } from './support/board.js';
import { bytes32 } from './support/generated.js';

const HLT = 0xf4;
const PAGES = 3;
const STEPS = 80;
const PROGRAMS = 100;
/** Where nothing is: reads give all ones, writes go nowhere. */
const NOWHERE = 0x5000_0000;

function machine(walks: boolean): { board: Board; executor: Interpreter } {
  const board = new Board('max', { walks });
  return { board, executor: new Interpreter(board.cpu, new Engine(board.arena, board.memory, { recordBytes: 1 << 18 })) };
}

/** Loads and stores, at random, to pages that come and go between memory and nowhere. */
function program(seed: number): number[] {
  const source = createDeterministicRandom(seed);
  const below = (count: number): number => (source.next() >>> 0) % count;
  const code: number[] = [];
  for (let step = 0; step < STEPS; step++) {
    const page = below(PAGES);
    const kind = below(8);
    const linear = bytes32(At.DATA + page * 0x1000);
    // mov rax, [page]; add rbx, rax; rol rbx, 1
    if (kind < 3) code.push(0x48, 0x8b, 0x04, 0x25, ...linear, 0x48, 0x01, 0xc3, 0x48, 0xd1, 0xc3);
    // mov [page], rbx
    else if (kind < 5) code.push(0x48, 0x89, 0x1c, 0x25, ...linear);
    // add [page], ebx
    else if (kind === 5) code.push(0x01, 0x1c, 0x25, ...linear);
    else {
      const frame = kind === 6 ? NOWHERE : At.DATA + below(PAGES) * 0x1000;
      // mov qword [entry], frame; invlpg [page]
      code.push(
        0x48,
        0xc7,
        0x04,
        0x25,
        ...bytes32(At.PT + 8 * ((At.DATA >>> 12) + page)),
        ...bytes32(frame | 0x67),
        0x0f,
        0x01,
        0x3c,
        0x25,
        ...linear,
      );
    }
  }
  return [...code, HLT];
}

it('a page that was a device and is memory now is found as such, and the other way round', () => {
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
      cpu.mmu.flushAll();
      board.long(0);
      cpu.setGpr(3, 0n);
      cpu.w[word('activity')] = 0;
      updateMode(cpu);
      expect(executor.run(10_000)).toBe('idle');
    }
    const [generated, plain] = sides.map(({ board }) => board);
    expect(generated!.cpu.gpr(3), `program ${seed}`).toBe(plain!.cpu.gpr(3));
    const memory = ({ view }: Board): bigint[] => Array.from({ length: PAGES }, (_, page) => view.getBigUint64(At.DATA + page * 0x1000, true));
    expect(memory(generated!)).toEqual(memory(plain!));
  }
});
