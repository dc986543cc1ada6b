import { beforeEach, describe, expect, it } from 'vitest';
import { ExitCode, Vmcb } from '../src/index.js';
import { At, Board } from './support/board.js';

const board = new Board();
beforeEach(() => board.prepare());

const { EXIT_INFO1, EXIT_INFO2, EXIT_INT_INFO, NEXT_RIP, RIP } = Vmcb;
const nextRip = (): number => board.get(NEXT_RIP) - At.GUEST;

describe('exceptions and nested page faults', () => {
  it('intercepted exceptions give error code and address, and keep CR2', () => {
    board.set(Vmcb.EXCEPTION_INTERCEPTS, (1 << 14) | (1 << 6) | (1 << 3));
    // mov eax, [0x300000]
    expect(board.run([0x8b, 0x04, 0x25, 0, 0, 0x30, 0])).toBe(ExitCode.EXCEPTION + 14);
    expect([board.get(EXIT_INFO1), board.get(EXIT_INFO2)]).toEqual([0, 0x300000]);
    expect(board.get(Vmcb.CR2)).toBe(0);
    // Decode assist: the bytes of the instruction.
    expect(board.get(Vmcb.INSTRUCTION_BYTES) >>> 8).toBe(0x25048b);
    board.prepare();
    board.set(Vmcb.EXCEPTION_INTERCEPTS, 1 << 6);
    expect(board.run([0x0f, 0x0b])).toBe(ExitCode.EXCEPTION + 6);
    board.prepare();
    board.set(Vmcb.EXCEPTION_INTERCEPTS, 1 << 3);
    expect(board.run([0xcc])).toBe(ExitCode.EXCEPTION + 3);
    expect(board.get(RIP)).toBe(At.GUEST);
    expect(nextRip()).toBe(1);
  });

  it('a nested page fault tells the guest-physical address, final or in a table', () => {
    // The guest maps 2 MiB more than the nested tables do.
    board.view.setUint32(At.TABLES + 0x2008, 0x200083, true);
    // mov [0x212345], al
    expect(board.run([0x88, 0x04, 0x25, 0x45, 0x23, 0x21, 0])).toBe(ExitCode.NPF);
    expect([board.get(EXIT_INFO1), board.get(EXIT_INFO1 + 1)]).toEqual([6, 1]);
    expect(board.get(EXIT_INFO2)).toBe(0x212345);
    board.prepare();
    board.view.setUint32(At.TABLES + 0x2008, 0x300007, true);
    expect(board.run([0x8a, 0x04, 0x25, 0x45, 0x23, 0x21, 0])).toBe(ExitCode.NPF);
    expect(board.get(EXIT_INFO1 + 1)).toBe(2);
    expect(board.get(EXIT_INFO2) & ~0xfff).toBe(0x300000);
  });

  it('a fault of delivery is intercepted as itself, with the event in EXITINTINFO', () => {
    board.gdt();
    board.set(Vmcb.EXCEPTION_INTERCEPTS, 1 << 13);
    board.set(Vmcb.IDTR + 1, 0x10);
    // INT 40h beyond the limit of the IDT.
    expect(board.run([0xcd, 0x40])).toBe(ExitCode.EXCEPTION + 13);
    expect(board.get(EXIT_INT_INFO)).toBe((0x80000440 | 0) >>> 0);
    expect(nextRip()).toBe(2);
    board.prepare();
    board.gdt();
    board.set(Vmcb.IDTR + 1, 0x10);
    // A guest without handlers ends in shutdown.
    expect(board.run([0x0f, 0x0b])).toBe(ExitCode.SHUTDOWN);
  });
});

it('an intercepted #DB leaves DR6 and DR7 as its handler would find them', () => {
  board.set(Vmcb.EXCEPTION_INTERCEPTS, 1 << 1);
  board.set(Vmcb.DR7, 0x2400);
  board.set(Vmcb.DR_INTERCEPTS, -1);
  // mov dr0, rbx under DR7.GD
  expect(board.run([0x0f, 0x23, 0xc3])).toBe(ExitCode.EXCEPTION + 1);
  expect([board.get(Vmcb.DR6) & 0x2000, board.get(Vmcb.DR7)]).toEqual([0x2000, 0x400]);
});

describe('faults while an exception is delivered', () => {
  it('exit as themselves before they make a double fault', () => {
    board.gdt();
    board.set(Vmcb.EXCEPTION_INTERCEPTS, 1 << 14);
    // The IDT is not mapped: delivering #PF faults again.
    board.set(Vmcb.IDTR + 2, 0x400000);
    board.set(Vmcb.EVENT_INJECTION, 0x80000b0e | 0, 2);
    expect(board.run([0xf4])).toBe(ExitCode.EXCEPTION + 14);
    expect(board.get(EXIT_INT_INFO)).toBe((0x80000b0e | 0) >>> 0);
    expect(board.get(EXIT_INFO2)).toBe(0x4000e0);
  });

  it('exit for the nested tables also behind a double fault', () => {
    board.gdt();
    board.view.setUint32(At.TABLES + 0x2010, 0x400083, true);
    board.set(Vmcb.IDTR + 2, 0x400000);
    board.set(Vmcb.EVENT_INJECTION, 0x80000b08 | 0, 0);
    expect(board.run([0xf4])).toBe(ExitCode.NPF);
    expect(board.get(EXIT_INFO2)).toBe(0x400080);
    expect(board.get(EXIT_INT_INFO)).toBe((0x80000b08 | 0) >>> 0);
  });
});
