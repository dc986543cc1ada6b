import { MsrTable, vcpuState } from '@nestvm/isa';
import { describe, expect, it } from 'vitest';
import { Engine } from '../src/engine.js';
import { Interpreter } from '../src/executor.js';
import { word } from '../src/words.js';
import { At, Board } from './support/board.js';

const TABLE = word('msrTable');
const HLT = 0xf4;
const RAX = vcpuState.offset.gpr / 4;

/** RDMSR and WRMSR of one register at level 0: what is left in EDX:EAX, and where the CPU has stopped. */
function access(board: Board, executor: Interpreter, write: boolean, index: number, lo: number, hi: number): readonly number[] {
  const { cpu } = board;
  board.long();
  cpu.w[word('activity')] = 0;
  board.memory.write(At.CODE, Uint8Array.of(0x0f, write ? 0x30 : 0x32, HLT));
  [lo, -1, index, -1, hi, -1].forEach((value, i) => (cpu.w[RAX + i] = value | 0));
  executor.run(100);
  return [Number(cpu.rip), ...cpu.w.subarray(RAX, RAX + 6)];
}

function machine(): { board: Board; executor: Interpreter } {
  const board = new Board().long();
  for (let vector = 0; vector < 0x40; vector++) board.longGate(vector, { dpl: 3 });
  new Uint8Array(board.arena.memory.buffer, board.ram + At.HANDLER, 0x400).fill(HLT);
  const executor = new Interpreter(board.cpu, new Engine(board.arena, board.memory, { recordBytes: 1 << 16 }));
  executor.run(1);
  return { board, executor };
}

describe('RDMSR and WRMSR in generated code', () => {
  it('do what their full implementation does with every register that is kept in the state', () => {
    const [fast, full] = [machine(), machine()];
    const { cpu, arena } = full.board;
    // A table in which nothing is.
    cpu.w[TABLE] = arena.allocate('empty table', MsrTable.SLOTS * MsrTable.SLOT_BYTES, 64);
    const values = [
      [0, 0],
      [-1, 0],
      [0x487, 0],
      [0x1000, 0x7fff],
      [0x1000, 0x8000],
      [5, 0xffff_8000 | 0],
      [-1, -1],
    ] as const;
    const kept = cpu.msrs.list().filter(({ home, index }) => home !== undefined && index !== 0xc0000080);
    expect(kept.length).toBeGreaterThan(20);
    for (const { index, name } of [...kept, { index: 0x12345, name: 'none' }, { index: 0, name: 'index 0' }])
      for (const [lo, hi] of values)
        for (const write of [true, false]) {
          const [a, b] = [fast, full].map(({ board, executor }) => access(board, executor, write, index, lo, hi));
          expect(a, `${write ? 'WRMSR' : 'RDMSR'} ${name} ${hi}:${lo}`).toEqual(b);
        }
  });

  it('leave registers alone above level 0', () => {
    const { board, executor } = machine();
    board.long(3);
    board.memory.write(At.CODE, Uint8Array.of(0x0f, 0x32, HLT));
    board.cpu.w[RAX + 2] = 0xc0000100 | 0;
    executor.run(100);
    expect((Number(board.cpu.rip) - 1 - At.HANDLER) / 16).toBe(13);
  });
});
