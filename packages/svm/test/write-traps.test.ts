import { asm64 } from '@nestvm/assembler';
import { beforeEach, describe, expect, it } from 'vitest';
import { ExitCode, Vmcb } from '../src/index.js';
import { At, Board } from './support/board.js';

const board = new Board();
const { cpu } = board;
const guest = (text: string): number => board.run([...asm64((a) => a.text(text), { origin: At.GUEST }).bytes]);
const length = (text: string): number => asm64((a) => a.text(text), { origin: At.GUEST }).bytes.length;

beforeEach(() => board.prepare());

describe('write traps', () => {
  const exit = (): number[] => [board.get(Vmcb.EXIT_INFO1), board.get(Vmcb.RIP) - At.GUEST];

  it.each([
    [0, 'mov rax, cr0\nor eax, 8\nmov cr0, rax', 0x80010019],
    [3, `mov eax, ${At.TABLES}\nmov cr3, rax`, At.TABLES],
    [4, 'mov rax, cr4\nor eax, 0x80\nmov cr4, rax', 0xa0],
    [2, 'mov eax, 0x777\nmov cr2, rax', 0x777],
    [8, 'mov eax, 5\nmov cr8, rax', 5],
    [0, 'clts', 0x80010011],
  ])('CR%i: the exit comes behind the write, with the new value', (register, code, value) => {
    board.intercept(ExitCode.CR0_WRITE_TRAP + register);
    expect(guest(`${code}\nhlt`)).toBe(ExitCode.CR0_WRITE_TRAP + register);
    expect(exit()).toEqual([value, length(code)]);
    if (register === 4) expect(board.get(Vmcb.CR4)).toBe(value);
  });

  it('EFER likewise', () => {
    board.intercept(ExitCode.EFER_WRITE_TRAP);
    const code = 'mov ecx, 0xc0000080\nrdmsr\nor eax, 1\nwrmsr';
    expect(guest(`${code}\nhlt`)).toBe(ExitCode.EFER_WRITE_TRAP);
    expect(exit()).toEqual([0x1d01, length(code)]);
  });

  it('a write that faults, or that is intercepted itself, leaves none', () => {
    board.intercept(ExitCode.CR0_WRITE_TRAP + 4);
    board.set(Vmcb.EXCEPTION_INTERCEPTS, 1 << 13);
    expect(guest('mov eax, -1\nmov cr4, rax\nhlt')).toBe(ExitCode.EXCEPTION + 13);
    board.prepare();
    board.intercept(ExitCode.CR0_WRITE_TRAP + 4);
    board.set(Vmcb.CR_INTERCEPTS, 1 << 20);
    expect(guest('mov rax, cr4\nmov cr4, rax\nhlt')).toBe(ExitCode.CR0_WRITE + 4);
    expect(board.get(Vmcb.RIP)).toBe(At.GUEST + 3);
  });
});

describe('FERR_FREEZE', () => {
  const error = 'fninit\nfldcw [0x28000]\nfldz\nfld1\ndb 0xde, 0xf1\nfwait\nhlt';

  it('exits where an x87 error would freeze the processor, but not with IGNNE or CR0.NE', () => {
    board.intercept(ExitCode.FERR_FREEZE);
    board.set(Vmcb.EXCEPTION_INTERCEPTS, 1 << 16);
    // All x87 exceptions unmasked.
    board.memory.write32(0x28000, 0x340);
    expect(guest(error)).toBe(ExitCode.FERR_FREEZE);
    board.prepare();
    board.intercept(ExitCode.FERR_FREEZE);
    board.set(Vmcb.EXCEPTION_INTERCEPTS, 1 << 16);
    board.memory.write32(0x28000, 0x340);
    board.set(Vmcb.CR0, 0x80010031 | 0);
    expect(guest(error)).toBe(ExitCode.EXCEPTION + 16);
    board.prepare();
    board.intercept(ExitCode.FERR_FREEZE);
    board.set(Vmcb.EXCEPTION_INTERCEPTS, 1 << 16);
    board.memory.write32(0x28000, 0x340);
    cpu.msrs.write(0xc001_0115, 1, 0);
    expect(guest(error)).toBe(ExitCode.EXCEPTION + 16);
    cpu.msrs.write(0xc001_0115, 0, 0);
  });
});

describe('clean bits', () => {
  it('are hints: whatever they say, VMRUN uses what the VMCB holds', () => {
    board.intercept(ExitCode.CPUID);
    expect(guest('cpuid\nhlt')).toBe(ExitCode.CPUID);
    const again = (change: () => void): number => {
      board.set(Vmcb.RIP, At.GUEST);
      board.set(Vmcb.CLEAN_BITS, -1);
      change();
      cpu.rip = BigInt(At.HOST);
      cpu.w[0] = At.VMCB;
      board.set(Vmcb.RAX, 0);
      cpu.set32('activity', 0);
      board.interpreter.run(1000);
      return board.get(Vmcb.EXIT_CODE);
    };
    expect(again(() => board.set(Vmcb.INTERCEPTS, board.get(Vmcb.INTERCEPTS) & ~(1 << 18)))).toBe(ExitCode.HLT);
    expect(again(() => board.set(Vmcb.ASID, 0))).toBe(0xffff_ffff);
    expect(again(() => board.set(Vmcb.ASID, 2))).toBe(ExitCode.HLT);
    board.set(Vmcb.CR4, 0x20);
    expect(again(() => board.set(Vmcb.CR0, 0x2000_0011))).toBe(0xffff_ffff);
    expect(board.get(Vmcb.CLEAN_BITS)).toBe(0xffff_ffff);
  });
});

describe('the interrupt shadow of the guest', () => {
  const shadow = (code: string): number => {
    board.prepare();
    board.gdt();
    board.intercept(ExitCode.CPUID);
    expect(guest(`${code}\nhlt`)).toBe(ExitCode.CPUID);
    return board.get(Vmcb.INT_STATE);
  };

  it('is in the VMCB after an exit right behind STI, MOV SS, and not later', () => {
    expect(shadow('sti\ncpuid')).toBe(1);
    expect(shadow('sti\nnop\ncpuid')).toBe(0);
    expect(shadow('mov eax, 16\nmov ss, eax\ncpuid')).toBe(1);
    expect(shadow('mov eax, 16\nmov ss, eax\nnop\ncpuid')).toBe(0);
    expect(shadow('sti\nsti\ncpuid')).toBe(0);
  });

  it('that VMRUN loads holds off an interrupt for one instruction', () => {
    board.gdt();
    board.intercept(ExitCode.INTR);
    board.set(Vmcb.INT_STATE, 1);
    board.set(Vmcb.RFLAGS, 0x202);
    board.lines.vector = 0x40;
    expect(guest('nop\nnop\nhlt')).toBe(ExitCode.INTR);
    expect([board.get(Vmcb.RIP), board.get(Vmcb.INT_STATE)]).toEqual([At.GUEST + 1, 0]);
    board.lines.vector = -1;
  });

  it('of the host, who enters right behind STI, is not the guest’s', () => {
    board.gdt();
    board.code(At.GUEST, 0xf4);
    board.code(At.HOST, 0xfb, 0x0f, 0x01, 0xd8, 0xf4);
    board.interpreter.run(1000);
    expect([board.get(Vmcb.EXIT_CODE), board.get(Vmcb.INT_STATE)]).toEqual([ExitCode.HLT, 0]);
  });
});
