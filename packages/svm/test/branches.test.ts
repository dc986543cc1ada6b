import { asm64 } from '@nestvm/assembler';
import { beforeEach, describe, expect, it } from 'vitest';
import { ExitCode, Vmcb } from '../src/index.js';
import { VirtualExtension } from '../src/vmcb/layout.js';
import { At, Board } from './support/board.js';

const DEBUGCTL = 0x1d9;
const board = new Board();
const { cpu } = board;
const RFLAGS_TF = 0x102;

/** Code for an address; labels are `a.label`. */
const code = (text: string, origin: number): number[] => [...asm64((a) => a.text(text), { origin }).bytes];
const msr = (index: number): number => {
  expect(cpu.msrs.read(index)).toBe(true);
  return cpu.lo >>> 0;
};
const lastBranch = (): number[] => [0x1db, 0x1dc, 0x1dd, 0x1de].map(msr);
const host = (text: string): void => {
  board.code(At.HOST, ...code(`${text}\nhlt`, At.HOST));
  board.interpreter.run(1000);
};
const guest = (text: string): number => board.run(code(text, At.GUEST));
const recordsOf = (): number[] => [Vmcb.BR_FROM, Vmcb.BR_TO, Vmcb.LAST_EXCEPTION_FROM, Vmcb.LAST_EXCEPTION_TO].map((word) => board.get(word));

beforeEach(() => board.prepare());

describe('branch records', () => {
  const enable = `mov ecx, ${DEBUGCTL}\nmov eax, 1\nxor edx, edx\nwrmsr`;

  it('hold the last branch that was taken, and nothing while they are off', () => {
    host(`jmp ${At.HOST + 3}\nnop`);
    expect(lastBranch()).toEqual([0, 0, 0, 0]);
    board.prepare();
    // 14 bytes of enabling; then a branch that is not taken, one that is, and more instructions.
    host(`${enable}\nxor eax, eax\njnz ${At.HOST + 0x40}\njz ${At.HOST + 0x20}`);
    expect(msr(DEBUGCTL)).toBe(1);
    const [from, to] = lastBranch();
    expect(to).toBe(At.HOST + 0x20);
    expect(from).toBeGreaterThan(At.HOST + 14);
    expect(from).toBeLessThan(At.HOST + 0x20);
  });

  it('keep the branch before an interrupt apart, and stop at a debug exception', () => {
    board.gdt();
    board.gate(At.IDT, 6, At.HANDLER);
    board.code(At.HANDLER, 0xf4);
    board.code(At.HOST + 0x20, 0x0f, 0x0b);
    host(`${enable}\njmp ${At.HOST + 0x20}`);
    const [from, to, intFrom, intTo] = lastBranch();
    expect([from, to, intTo]).toEqual([At.HOST + 0x20, At.HANDLER, At.HOST + 0x20]);
    expect(intFrom).toBeGreaterThan(At.HOST);
    board.prepare();
    board.gdt();
    board.gate(At.IDT, 1, At.HANDLER);
    board.code(At.HANDLER, 0xf4);
    board.code(At.HOST + 0x20, 0xf1);
    host(`${enable}\njmp ${At.HOST + 0x20}`);
    expect(lastBranch()[1]).toBe(At.HOST + 0x20);
    expect(msr(DEBUGCTL)).toBe(0);
  });

  it('BTF makes the single-step trap one of branches', () => {
    board.gdt();
    board.gate(At.IDT, 1, At.HANDLER);
    board.code(At.HANDLER, 0xf4);
    board.code(At.HOST + 0x30, 0x90, 0xf4);
    host(`mov ecx, ${DEBUGCTL}\nmov eax, 2\nxor edx, edx\nwrmsr\npushfq\nor qword [rsp], 0x100\npopfq\nnop\nnop\njmp ${At.HOST + 0x30}`);
    // The handler's frame returns behind the branch, not behind the first NOP.
    expect(Number(cpu.rip)).toBe(At.HANDLER + 1);
    const rsp = Number(cpu.gpr(4));
    expect(board.memory.read32(rsp)).toBe(At.HOST + 0x30);
    expect(msr(DEBUGCTL)).toBe(0);
  });
});

describe('LBR virtualization', () => {
  it('gives the guest records of its own, and the host its own back', () => {
    board.set(Vmcb.VIRTUAL_EXTENSIONS, VirtualExtension.LBR);
    board.set(Vmcb.DEBUGCTL, 1);
    board.set(Vmcb.LAST_EXCEPTION_FROM, 0x1234);
    cpu.set64('lbrFrom', 0x77n);
    cpu.set64('lastIntTo', 0x88n);
    board.code(At.GUEST + 0x10, 0xf4);
    expect(guest(`jmp ${At.GUEST + 0x10}`)).toBe(ExitCode.HLT);
    expect(recordsOf()).toEqual([At.GUEST, At.GUEST + 0x10, 0x1234, 0]);
    expect([board.get(Vmcb.DEBUGCTL), msr(DEBUGCTL)]).toEqual([1, 0]);
    expect([cpu.get64('lbrFrom'), cpu.get64('lastIntTo')]).toEqual([0x77n, 0x88n]);
  });

  it('works for what the guest enables itself', () => {
    board.set(Vmcb.VIRTUAL_EXTENSIONS, VirtualExtension.LBR);
    board.code(At.GUEST + 0x20, ...code('mov ecx, 0x1dc\nrdmsr\nhlt', At.GUEST + 0x20));
    expect(guest(`mov ecx, ${DEBUGCTL}\nmov eax, 1\nxor edx, edx\nwrmsr\njmp ${At.GUEST + 0x20}`)).toBe(ExitCode.HLT);
    expect(board.get(Vmcb.RAX)).toBe(At.GUEST + 0x20);
    expect([board.get(Vmcb.DEBUGCTL), board.get(Vmcb.BR_TO)]).toEqual([1, At.GUEST + 0x20]);
  });

  it('without it the registers are the host’s, in the guest too', () => {
    board.set(Vmcb.DEBUGCTL, 1);
    board.code(At.GUEST + 0x10, 0xf4);
    expect(guest(`jmp ${At.GUEST + 0x10}`)).toBe(ExitCode.HLT);
    expect([...lastBranch(), ...recordsOf()]).toEqual([0, 0, 0, 0, 0, 0, 0, 0]);
    board.prepare();
    cpu.msrs.write(DEBUGCTL, 1, 0);
    board.code(At.GUEST + 0x10, 0xf4);
    expect(guest(`jmp ${At.GUEST + 0x10}`)).toBe(ExitCode.HLT);
    expect(lastBranch().slice(0, 2)).toEqual([At.GUEST, At.GUEST + 0x10]);
    expect(recordsOf()).toEqual([0, 0, 0, 0]);
  });

  it('single-steps a guest by branches', () => {
    board.set(Vmcb.VIRTUAL_EXTENSIONS, VirtualExtension.LBR);
    board.set(Vmcb.DEBUGCTL, 2);
    board.set(Vmcb.RFLAGS, RFLAGS_TF);
    board.set(Vmcb.EXCEPTION_INTERCEPTS, 2);
    board.code(At.GUEST + 0x10, 0xf4);
    expect(guest(`nop\nnop\njmp ${At.GUEST + 0x10}`)).toBe(ExitCode.EXCEPTION + 1);
    expect(board.get(Vmcb.RIP)).toBe(At.GUEST + 0x10);
  });
});
