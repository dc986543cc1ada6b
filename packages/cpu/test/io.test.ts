import { describe, expect, it } from 'vitest';
import { Outcome } from '../src/outcome.js';
import { At, Board } from './support/board.js';

describe('port I/O', () => {
  it('moves 8, 16 and 32 bits', () => {
    const board = new Board().long(0);
    const { cpu } = board;
    board.inputs.set(0x3f8, () => 0x89abcdef);
    cpu.setGpr(0, 0x1111111122222222n);
    cpu.setGpr(2, 0x3f8n);
    board.execute(0xec);
    expect(cpu.gpr(0)).toBe(0x11111111222222efn);
    board.execute(0x66, 0xed);
    expect(cpu.gpr(0)).toBe(0x111111112222cdefn);
    board.execute(0xed);
    expect(cpu.gpr(0)).toBe(0x89abcdefn);
    board.execute(0xe6, 0x80);
    board.execute(0x66, 0xef);
    board.execute(0xef);
    expect(board.outputs).toEqual(['80/1=ef', '3f8/2=cdef', '3f8/4=89abcdef']);
  });

  it('asks IOPL, then the bitmap with its end byte', () => {
    const board = new Board().long(3);
    const { cpu } = board;
    const bitmap = At.TSS + 0x68;
    board.view.setUint16(At.TSS + 0x66, 0x68, true);
    cpu.set32('segLimit', 0x68 + 0x80, 8 - 1);
    cpu.setGpr(2, 0x3f8n);
    expect(board.execute(0xec)).toBe(Outcome.NEXT);
    board.view.setUint8(bitmap + 0x7f, 0x02);
    expect(board.execute(0xec), 'port 3f8').toBe(Outcome.NEXT);
    cpu.setGpr(2, 0x3f9n);
    expect(board.faults(0xec)).toBe('13:0');
    cpu.setGpr(2, 0x3f8n);
    expect(board.faults(0x66, 0xed), 'two ports').toBe('13:0');
    cpu.setGpr(2, 0x400n);
    expect(board.faults(0xec), 'beyond the limit').toBe('13:0');
    cpu.writeRflags(0x3202);
    expect(board.execute(0xec), 'IOPL 3').toBe(Outcome.NEXT);
    cpu.writeRflags(0x202);
    cpu.set32('segAttributes', 0x83, 7);
    cpu.setGpr(2, 0x80n);
    expect(board.faults(0xec), '16-bit TSS').toBe('13:0');
  });

  it('REP INSW goes on where a page fault stopped it', () => {
    const board = new Board().long(0);
    const { cpu } = board;
    let next = 0;
    board.inputs.set(0x1f0, () => next++);
    cpu.setGpr(2, 0x1f0n);
    cpu.setGpr(1, 8n);
    cpu.setGpr(7, BigInt(0x42000 - 6));
    board.unmap(0x42000);
    expect(() => board.execute(0x66, 0xf3, 0x6d)).toThrow('faulted, but changed');
    expect([board.fault, cpu.gpr(1), cpu.gpr(7), next]).toEqual(['14:2', 5n, 0x42000n, 3]);
    board.view.setBigUint64(At.PT + 8 * 0x42, 0x42007n, true);
    expect(board.execute(0x66, 0xf3, 0x6d)).toBe(Outcome.NEXT);
    expect([cpu.gpr(1), board.words(0x42000 - 6, 8)]).toEqual([0n, [0, 1, 2, 3, 4, 5, 6, 7]]);
  });

  it('REP OUTSB goes down with DF, in batches, and does nothing with a zero count', () => {
    const board = new Board().long(0);
    const { cpu } = board;
    for (let i = 0; i < 100; i++) board.view.setUint8(At.DATA + i, i);
    cpu.writeRflags(0x602);
    cpu.setGpr(2, 0xe9n);
    cpu.setGpr(1, 100n);
    cpu.setGpr(6, BigInt(At.DATA + 99));
    let outcome = board.execute(0xf3, 0x6e);
    expect(outcome).toBe(Outcome.REPEAT);
    while (outcome === Outcome.REPEAT) outcome = board.execute(0xf3, 0x6e);
    expect(board.outputs.length).toBe(100);
    expect([board.outputs[0], board.outputs[99], cpu.gpr(6)]).toEqual(['e9/1=63', 'e9/1=0', BigInt(At.DATA - 1)]);
    expect(board.execute(0xf3, 0x6e)).toBe(Outcome.NEXT);
    expect(board.outputs.length).toBe(100);
  });
});
