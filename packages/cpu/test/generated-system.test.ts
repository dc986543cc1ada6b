import { describe, expect, it } from 'vitest';
import { Engine } from '../src/engine.js';
import { Interpreter } from '../src/executor.js';
import { word } from '../src/words.js';
import { At, Board, Sel } from './support/board.js';

const CLI = 0xfa;
const STI = 0xfb;
const NOP = 0x90;
const HLT = 0xf4;
const HELD = word('interruptHeld');

/** A board in 64-bit mode whose handlers all halt, and something to run it with. */
function machine(cpl: 0 | 3 = 0): { board: Board; executor: Interpreter } {
  const board = new Board().long(cpl);
  for (let vector = 0; vector < 0x40; vector++) board.longGate(vector, { dpl: 3 });
  new Uint8Array(board.arena.memory.buffer, board.ram + At.HANDLER, 0x400).fill(HLT);
  return { board, executor: new Interpreter(board.cpu, new Engine(board.arena, board.memory, { recordBytes: 1 << 16 })) };
}

function place(board: Board, ...code: number[]): void {
  board.memory.write(At.CODE, Uint8Array.from(code));
}

const vectorTaken = (board: Board): number => (Number(board.cpu.rip) - 1 - At.HANDLER) / 16;
/** Where the frame on the level-0 stack returns to, from the start of the code. */
const returnsTo = (board: Board): number => Number(board.quads(At.STACK0 - 40, 1)[0]!) - At.CODE;

describe('system instructions in generated code', () => {
  it('PUSHF pushes what the plain implementation does, without RF and VM', () => {
    const { board, executor } = machine();
    const { cpu } = board;
    place(board, 0x9c, 0x66, 0x9c, HLT); // pushfq, pushfw
    for (const flags of [0x2, 0xad7, 0x8d5, 0x240, 0x46, 0x803, 0x40ad7, 0x203f97, 0x203002]) {
      board.long();
      cpu.w[word('activity')] = 0;
      cpu.writeRflags(flags);
      expect(executor.run(100)).toBe('idle');
      expect(board.quads(At.STACK0 - 8, 1)).toEqual([BigInt((flags & ~0x30000) | 2)]);
      expect(board.words(At.STACK0 - 10, 1)).toEqual([(flags | 2) & 0xffff]);
    }
  });

  it('an interrupt that waited for STI comes after one more instruction, and HLT is one', () => {
    for (const next of [NOP, HLT]) {
      const { board, executor } = machine();
      board.cpu.writeRflags(2);
      board.interrupts.vector = 0x30;
      place(board, NOP, STI, next, NOP, NOP, HLT);
      executor.run(100);
      expect(vectorTaken(board)).toBe(0x30);
      expect(returnsTo(board)).toBe(3);
    }
  });

  it('an interrupt that is asked for behind STI comes at the end of the block; STI and HLT stay together', () => {
    const { board, executor } = machine();
    const { cpu, interrupts } = board;
    cpu.writeRflags(2);
    // in al, 0x10 lets the interrupt come in.
    board.inputs.set(0x10, () => {
      interrupts.vector = 0x31;
      cpu.requestAttention();
      return 0;
    });
    place(board, CLI, 0xe4, 0x10, STI, HLT, NOP);
    executor.run(100);
    expect(vectorTaken(board)).toBe(0x31);
    expect(returnsTo(board)).toBe(5);
  });

  it('STI without anything held back sets IF at once, and what comes later is taken', () => {
    const { board, executor } = machine();
    const { cpu, interrupts } = board;
    cpu.writeRflags(2);
    place(board, STI, NOP, HLT);
    expect(executor.run(100)).toBe('idle');
    expect(cpu.w[HELD]).toBe(0);
    expect(cpu.readRflags() & 0x200).toBe(0x200);
    expect(cpu.w[word('interruptibility')]).toBe(0);
    interrupts.vector = 0x32;
    cpu.requestAttention();
    executor.run(100);
    expect(vectorTaken(board)).toBe(0x32);
  });

  it('an interrupt that goes away while it is held back is not taken', () => {
    const { board, executor } = machine();
    const { cpu, interrupts } = board;
    cpu.writeRflags(2);
    interrupts.vector = 0x30;
    place(board, NOP, 0xe4, 0x10, STI, NOP, HLT);
    board.inputs.set(0x10, () => {
      expect(cpu.w[HELD]).toBe(1);
      interrupts.vector = -1;
      return 0;
    });
    expect(executor.run(100)).toBe('idle');
    expect(Number(cpu.rip)).toBe(At.CODE + 6);
  });

  it('CLI and STI fault at level 3, and SWAPGS too', () => {
    for (const code of [[CLI], [STI], [0x0f, 0x01, 0xf8]]) {
      const { board, executor } = machine(3);
      place(board, NOP, ...code);
      executor.run(100);
      expect(vectorTaken(board)).toBe(13);
      expect(Number(board.quads(At.STACK0 - 48, 2)[1]) - At.CODE).toBe(1);
    }
  });

  it('SWAPGS exchanges the bases, CLI clears IF alone, selectors are read zero-extended', () => {
    const { board, executor } = machine();
    const { cpu } = board;
    cpu.set64('kernelGsBase', 0xffff_8000_1234_5678n);
    cpu.set64('segBase', 0x7f00_0000_1000n, 5);
    cpu.writeRflags(0xed7);
    cpu.setGpr(0, -1n);
    cpu.setGpr(3, -1n);
    // swapgs; cli; mov rax, cs; mov bx, ss; mov [0x40000], ds
    place(board, 0x0f, 0x01, 0xf8, CLI, 0x48, 0x8c, 0xc8, 0x66, 0x8c, 0xd3, 0x8c, 0x1c, 0x25, 0, 0, 4, 0, HLT);
    board.view.setUint32(At.DATA, 0xffffffff, true);
    executor.run(100);
    expect([cpu.get64('kernelGsBase'), cpu.get64('segBase', 5)]).toEqual([0x7f00_0000_1000n, 0xffff_8000_1234_5678n]);
    expect(cpu.readRflags()).toBe(0xcd7);
    expect([cpu.gpr(0), BigInt.asUintN(64, cpu.gpr(3))]).toEqual([BigInt(Sel.LONG0), 0xffff_ffff_ffff_0000n | BigInt(Sel.DATA0)]);
    expect(board.dwords(At.DATA, 1)).toEqual([(0xffff0000 | Sel.DATA0) >>> 0]);
  });

  it('a selector of a register that does not exist is #UD', () => {
    const { board, executor } = machine();
    place(board, 0x8c, 0xf0);
    executor.run(100);
    expect(vectorTaken(board)).toBe(6);
  });

  it('VERW says of every selector what the plain implementation does', () => {
    const { board, executor } = machine();
    const { cpu } = board;
    for (let selector = 0; selector < 0x100; selector++)
      for (const flags of [0x2, 0xad7]) {
        const seen = [true, false].map((generated) => {
          board.long();
          cpu.w[word('activity')] = 0;
          cpu.writeRflags(flags);
          cpu.setGpr(0, BigInt(selector));
          place(board, 0x0f, 0x00, 0xe8, HLT); // verw ax
          if (generated) executor.run(100);
          else board.execute(0x0f, 0x00, 0xe8);
          return cpu.readRflags();
        });
        expect(seen[0], `selector ${selector.toString(16)}`).toBe(seen[1]);
      }
  });

  it('SGDT and LGDT move ten bytes, or nothing when a page of them is missing', () => {
    const { board, executor } = machine();
    const { cpu } = board;
    cpu.set64('gdtrBase', 0xffff_8000_1234_5678n);
    cpu.w[word('gdtrLimit')] = 0xabcd;
    // sgdt [0x40000]; mov dword [0x40000], 0x56781111; lgdt [0x40000]
    place(board, 0x0f, 0x01, 0x04, 0x25, 0, 0, 4, 0, 0xc7, 0x04, 0x25, 0, 0, 4, 0, 0x11, 0x11, 0x78, 0x56, 0x0f, 0x01, 0x14, 0x25, 0, 0, 4, 0, HLT);
    board.memory.write(At.DATA, new Uint8Array(16).fill(0xee));
    expect(executor.run(100)).toBe('idle');
    expect(board.quads(At.DATA, 2)).toEqual([0x8000_1234_5678_1111n, 0xeeee_eeee_eeee_ffffn]);
    expect([cpu.get64('gdtrBase'), cpu.w[word('gdtrLimit')]]).toEqual([0xffff_8000_1234_5678n, 0x1111]);
    for (const code of [0x04, 0x14]) {
      board.long();
      cpu.w[word('activity')] = 0;
      board.unmap(At.DATA + 0x1000);
      board.memory.write(At.DATA + 0xff8, new Uint8Array(8).fill(0xee));
      place(board, 0x0f, 0x01, code, 0x25, 0xf9, 0x0f, 4, 0, HLT);
      executor.run(100);
      expect(vectorTaken(board)).toBe(14);
      expect(board.quads(At.DATA + 0xff8, 1)).toEqual([0xeeee_eeee_eeee_eeeen]);
      expect(cpu.get64('gdtrBase')).toBe(BigInt(At.GDT));
    }
  });
});
