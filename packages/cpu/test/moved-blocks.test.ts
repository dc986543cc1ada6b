import { expect, it } from 'vitest';
import { Engine } from '../src/engine.js';
import { Interpreter } from '../src/executor.js';
import { At, Board } from './support/board.js';

const TURNS = 500;
/** Where the page ends that the code begins on: an instruction lies across. */
const END = 0x1000;

it('a block across two pages, one of which is written to, is looked up once', () => {
  const board = new Board();
  const engine = new Engine(board.arena, board.memory, { recordBytes: 1 << 16 });
  const executor = new Interpreter(board.cpu, engine);
  board.long(0);
  // mov ecx, TURNS; again: cmp ecx, TURNS - 100; jne on; mov byte [rip + what], 9; on: jmp across
  const start = [0xb9, TURNS & 0xff, TURNS >> 8, 0, 0, 0x81, 0xf9, (TURNS - 100) & 0xff, (TURNS - 100) >> 8, 0, 0, 0x75, 0x07];
  const patched = END + 5;
  const write = [0xc6, 0x05, ...int32(patched - (start.length + 7)), 9];
  const jump = [0xe9, ...int32(END - 3 - (start.length + write.length + 5))];
  // across: add rax, 1000; add ebx, 5 (whose 5 becomes 9); dec ecx; jnz again; hlt
  const across = [0x48, 0x05, 0xe8, 0x03, 0, 0, 0x83, 0xc3, 5, 0xff, 0xc9, 0x0f, 0x85, ...int32(5 - (END - 3 + 17)), 0xf4];
  board.memory.write(At.CODE, Uint8Array.from([...start, ...write, ...jump]));
  board.memory.write(At.CODE + END - 3, Uint8Array.from(across));
  board.cpu.setGpr(0, 0n);
  board.cpu.setGpr(3, 0n);
  let looked = 0;
  const find = engine.cache.find.bind(engine.cache);
  engine.cache.find = (...place) => {
    looked++;
    return find(...place);
  };
  expect(executor.run(100_000)).toBe('idle');
  expect([board.cpu.gpr(0), board.cpu.gpr(3)]).toEqual([1000n * BigInt(TURNS), 4100n]);
  expect(looked).toBeLessThan(30);
});

function int32(value: number): number[] {
  return [value & 255, (value >> 8) & 255, (value >> 16) & 255, (value >> 24) & 255];
}
