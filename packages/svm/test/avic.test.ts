import { GUEST_MODE } from '@nestvm/cpu/extension';
import { ApicRegister } from '@nestvm/isa';
import { beforeEach, describe, expect, it } from 'vitest';
import { ExitCode, IntControl, Vmcb } from '../src/index.js';
import { At, Board } from './support/board.js';

const APIC = 0x48000;
const PAGE = 0x49000;
const OTHER_PAGE = 0x4a000;
const LOGICAL = 0x4b000;
const PHYSICAL = 0x4c000;
const VALID = 0x80000000;
const RUNNING = 0x40000000;
const { EXIT_INFO1, EXIT_INFO2, RIP, RAX } = Vmcb;
const R = ApicRegister;

const board = new Board();
const { cpu, memory } = board;

const register = (offset: number): number => memory.read32(PAGE + offset) >>> 0;
const setRegister = (offset: number, value: number): void => memory.write32(PAGE + offset, value);
const bit = (page: number, row: number, vector: number): boolean => ((memory.read32(page + row + ((vector >>> 5) << 4)) >>> (vector & 31)) & 1) === 1;
const setBit = (row: number, vector: number): void =>
  setRegister(row + ((vector >>> 5) << 4), register(row + ((vector >>> 5) << 4)) | (1 << (vector & 31)));
const le = (value: number): number[] => [value & 255, (value >>> 8) & 255, (value >>> 16) & 255, value >>> 24];
/** mov dword [APIC + offset], value */
const store = (offset: number, value: number): number[] => [0xc7, 0x04, 0x25, ...le(APIC + offset), ...le(value)];
/** mov eax, [APIC + offset] */
const load = (offset: number): number[] => [0x8b, 0x04, 0x25, ...le(APIC + offset)];
const HLT = 0xf4;

function entry(index: number, page: number, flags: number, apicId = 0): void {
  memory.write32(PHYSICAL + 8 * index, page | apicId);
  memory.write32(PHYSICAL + 8 * index + 4, flags);
}

beforeEach(() => {
  board.prepare();
  for (let at = PAGE; at < PHYSICAL + 4096; at += 4) memory.write32(at, 0);
  board.set(Vmcb.INT_CONTROL, IntControl.AVIC_ENABLE | IntControl.V_INTR_MASKING);
  board.set(Vmcb.AVIC_BAR, APIC);
  board.set(Vmcb.AVIC_BACKING_PAGE, PAGE);
  board.set(Vmcb.AVIC_LOGICAL_TABLE, LOGICAL);
  board.set(Vmcb.AVIC_PHYSICAL_TABLE, PHYSICAL | 3);
  setRegister(R.DFR, 0xffffffff);
  // The page itself holds rubbish that must never be seen.
  for (let at = APIC; at < APIC + 4096; at += 4) memory.write32(at, 0xdeadbeef);
  board.gdt();
  board.gate(At.GUEST_IDT, 0x61, At.HANDLER);
  board.gate(At.GUEST_IDT, 0x52, At.HANDLER + 16);
});

describe('register accesses', () => {
  it('reads come from the backing page', () => {
    setRegister(R.ID, 0x05000000);
    expect(board.run([...load(R.ID), HLT])).toBe(ExitCode.HLT);
    expect(board.get(RAX)).toBe(0x05000000);
  });

  it('parts of a register are read, writes across are exits', () => {
    setRegister(R.SVR, 0x1ff);
    // movzx eax, byte [APIC + 0xf1]
    expect(board.run([0x0f, 0xb6, 0x04, 0x25, ...le(APIC + 0xf1), HLT])).toBe(ExitCode.HLT);
    expect(board.get(RAX)).toBe(1);
    board.prepare();
    // mov [APIC + 0x80], rax: 8 bytes
    board.set(Vmcb.INT_CONTROL, IntControl.AVIC_ENABLE);
    board.set(Vmcb.AVIC_BAR, APIC);
    board.set(Vmcb.AVIC_BACKING_PAGE, PAGE);
    expect(board.run([0x48, 0x89, 0x04, 0x25, ...le(APIC + 0x80)])).toBe(ExitCode.AVIC_NOACCEL);
    expect([board.get(EXIT_INFO1), board.get(EXIT_INFO1 + 1)]).toEqual([0x80, 1]);
    expect(board.get(RIP)).toBe(At.GUEST);
  });

  it.each([
    ['the current count', load(R.TIMER_CURRENT), R.TIMER_CURRENT, 0],
    ['the arbitration priority', load(R.APR), R.APR, 0],
    ['the version', store(R.VERSION, 1), R.VERSION, 1],
    ['a request register', store(R.IRR, 1), R.IRR, 1],
  ])('%s exits before the access', (_name, code, offset, write) => {
    expect(board.run(code)).toBe(ExitCode.AVIC_NOACCEL);
    expect([board.get(EXIT_INFO1), board.get(EXIT_INFO1 + 1)]).toEqual([offset, write]);
    expect(board.get(RIP)).toBe(At.GUEST);
    expect(register(offset)).toBe(0);
  });

  it.each([
    ['SVR', R.SVR],
    ['the timer', R.LVT_TIMER],
    ['LDR', R.LDR],
    ['the initial count', R.TIMER_INITIAL],
  ])('%s is written, then comes the exit', (_name, offset) => {
    const code = store(offset, 0x1234);
    // The next instruction would exit too: the write comes first.
    board.intercept(ExitCode.CPUID);
    expect(board.run([...code, 0x0f, 0xa2])).toBe(ExitCode.AVIC_NOACCEL);
    expect([board.get(EXIT_INFO1), board.get(EXIT_INFO1 + 1)]).toEqual([offset, 1]);
    expect(board.get(RIP)).toBe(At.GUEST + code.length);
    expect(register(offset)).toBe(0x1234);
  });

  it('nested paging still judges the page', () => {
    board.set(Vmcb.TLB_CONTROL, 1);
    // 4-KiB nested pages where APIC is not present.
    memory.write32(At.NESTED + 0x2000, 0x5000 | 7);
    for (let i = 0; i < 512; i++) memory.write32(0x5000 + 8 * i, i * 4096 === APIC ? 0 : (i * 4096) | 7);
    expect(board.run(load(R.ID))).toBe(ExitCode.NPF);
    expect(board.get(EXIT_INFO2)).toBe(APIC + R.ID);
  });
});

describe('interrupts', () => {
  it('come from the request registers by priority, and end with EOI', () => {
    setBit(R.IRR, 0x52);
    setBit(R.IRR, 0x61);
    // 61h: EOI; iret. 52h: hlt.
    board.code(At.HANDLER, ...store(R.EOI, 0), 0x48, 0xcf);
    board.code(At.HANDLER + 16, HLT);
    expect(board.run([0xfb, 0x90, 0x90, 0xeb, 0xfe])).toBe(ExitCode.HLT);
    expect(board.get(RIP)).toBe(At.HANDLER + 16);
    expect([bit(PAGE, R.ISR, 0x61), bit(PAGE, R.IRR, 0x61), bit(PAGE, R.ISR, 0x52), bit(PAGE, R.IRR, 0x52)]).toEqual([false, false, true, false]);
    expect(register(R.PPR)).toBe(0x50);
  });

  it('wait for the task priority, through the page or CR8', () => {
    setBit(R.IRR, 0x61);
    setRegister(R.TPR, 0x60);
    board.code(At.HANDLER, HLT);
    // sti; nop; mov eax, 5; mov cr8, rax; jmp $
    expect(board.run([0xfb, 0x90, 0xb8, 5, 0, 0, 0, 0x44, 0x0f, 0x22, 0xc0, 0xeb, 0xfe])).toBe(ExitCode.HLT);
    expect([board.get(RIP), board.get(RAX)]).toEqual([At.HANDLER, 5]);
    expect(register(R.TPR)).toBe(0x50);
    expect(board.get(Vmcb.INT_CONTROL) & 15).toBe(5);
  });

  it('the task priority in memory shows in CR8', () => {
    expect(board.run([...store(R.TPR, 0x72), 0x44, 0x0f, 0x20, 0xc0, HLT])).toBe(ExitCode.HLT);
    expect(board.get(RAX)).toBe(7);
    expect(register(R.PPR)).toBe(0x72);
  });

  it('wait for IF and the virtual GIF', () => {
    setBit(R.IRR, 0x61);
    expect(board.run([0x90, HLT])).toBe(ExitCode.HLT);
    expect(board.get(RIP)).toBe(At.GUEST + 1);
  });

  it('wake a guest that halts by itself, by a doorbell', () => {
    board.set(Vmcb.INTERCEPTS, 0);
    board.intercept(ExitCode.SHUTDOWN, ExitCode.VMMCALL, ExitCode.VMRUN);
    board.code(At.HANDLER, 0x0f, 0x01, 0xd9);
    board.run([0xfb, HLT, HLT]);
    expect(cpu.w[GUEST_MODE]).not.toBe(0);
    // As another processor would: the request, then the doorbell.
    setBit(R.IRR, 0x61);
    expect(cpu.msrs.write(0xc001011b, 1, 0)).toBe(true);
    board.interpreter.run(100);
    expect(cpu.w[GUEST_MODE]).not.toBe(0);
    expect(cpu.msrs.write(0xc001011b, 0, 0)).toBe(true);
    board.interpreter.run(100);
    expect(board.get(Vmcb.EXIT_CODE)).toBe(ExitCode.VMMCALL);
    expect(cpu.msrs.read(0xc001011b)).toBe(false);
  });

  it('the end of a level-triggered one exits, and leaves it in service', () => {
    setBit(R.ISR, 0x61);
    setBit(R.TMR, 0x61);
    expect(board.run(store(R.EOI, 0))).toBe(ExitCode.AVIC_NOACCEL);
    expect([board.get(EXIT_INFO1), board.get(EXIT_INFO2)]).toEqual([R.EOI, 0x61]);
    expect(bit(PAGE, R.ISR, 0x61)).toBe(true);
  });
});

describe('interprocessor interrupts', () => {
  const send = (high: number, low: number): number[] => [...store(R.ICR_HIGH, high), ...store(R.ICR_LOW, low), HLT];
  const failure = (): number[] => [board.get(EXIT_INFO1 + 1), board.get(EXIT_INFO1), board.get(EXIT_INFO2 + 1), board.get(EXIT_INFO2)];

  it('to itself are taken at once', () => {
    board.code(At.HANDLER, HLT);
    expect(board.run([0xfb, 0x90, ...store(R.ICR_LOW, 0x40061), 0xeb, 0xfe])).toBe(ExitCode.HLT);
    expect(board.get(RIP)).toBe(At.HANDLER);
  });

  it('go to the page of a running target without an exit', () => {
    entry(2, OTHER_PAGE, VALID | RUNNING, 7);
    expect(board.run(send(2 << 24, 0x52))).toBe(ExitCode.HLT);
    expect(bit(OTHER_PAGE, R.IRR, 0x52)).toBe(true);
  });

  it('exit when the target does not run, with the request made', () => {
    entry(2, OTHER_PAGE, VALID, 7);
    expect(board.run(send(2 << 24, 0x52))).toBe(ExitCode.AVIC_INCOMPLETE_IPI);
    expect(failure()).toEqual([2 << 24, 0x52, 1, 2]);
    expect(bit(OTHER_PAGE, R.IRR, 0x52)).toBe(true);
    expect(board.get(RIP)).toBe(At.GUEST + 22);
  });

  it.each([
    ['a target beyond the table', 9 << 24, 0x52, 2, 9],
    ['a target that is not valid', 1 << 24, 0x52, 2, 1],
    ['a backing page that is not memory', 3 << 24, 0x52, 3, 3],
    ['a type other than fixed', 2 << 24, 0x452, 0, 0],
    ['an illegal vector', 2 << 24, 5, 4, 0],
  ])('exit for %s', (_name, high, low, reason, index) => {
    entry(2, OTHER_PAGE, VALID | RUNNING);
    entry(3, 0, VALID | RUNNING | 0x8000);
    expect(board.run(send(high, low))).toBe(ExitCode.AVIC_INCOMPLETE_IPI);
    expect(failure()).toEqual([high >>> 0, low, reason, index]);
  });

  it('find logical targets by the table', () => {
    entry(2, OTHER_PAGE, VALID | RUNNING);
    memory.write32(LOGICAL + 4 * 3, VALID | 2);
    expect(board.run(send(8 << 24, 0x852))).toBe(ExitCode.HLT);
    expect(bit(OTHER_PAGE, R.IRR, 0x52)).toBe(true);
  });

  it('find logical targets in clusters', () => {
    setRegister(R.DFR, 0x0fffffff);
    entry(2, OTHER_PAGE, VALID | RUNNING);
    memory.write32(LOGICAL + 4 * (4 * 3 + 1), VALID | 2);
    expect(board.run(send(0x32 << 24, 0x861))).toBe(ExitCode.HLT);
    expect(bit(OTHER_PAGE, R.IRR, 0x61)).toBe(true);
  });

  it('to all others leave out the sender and who is missing', () => {
    setRegister(R.ID, 1 << 24);
    entry(1, PAGE, VALID | RUNNING);
    entry(3, OTHER_PAGE, VALID | RUNNING);
    expect(board.run(send(0, 0xc0052))).toBe(ExitCode.HLT);
    expect([bit(OTHER_PAGE, R.IRR, 0x52), bit(PAGE, R.IRR, 0x52)]).toEqual([true, false]);
  });
});

describe('x2APIC mode', () => {
  const wrmsr = (index: number, lo: number, hi = 0): number[] => [0xb9, ...le(index), 0xb8, ...le(lo), 0xba, ...le(hi), 0x0f, 0x30];
  const rdmsr = (index: number): number[] => [0xb9, ...le(index), 0x0f, 0x32];

  beforeEach(() => {
    board.set(Vmcb.INT_CONTROL, IntControl.AVIC_ENABLE | IntControl.X2AVIC_ENABLE | IntControl.V_INTR_MASKING);
    board.gate(At.GUEST_IDT, 13, At.HANDLER + 32);
    board.code(At.HANDLER + 32, 0x0f, 0x01, 0xd9);
  });

  it('registers are MSRs', () => {
    setRegister(R.ID, 0x12345);
    expect(board.run([...rdmsr(0x802), HLT])).toBe(ExitCode.HLT);
    expect(board.get(RAX)).toBe(0x12345);
  });

  it('the page is memory', () => {
    expect(board.run([...load(R.ID), HLT])).toBe(ExitCode.HLT);
    expect(board.get(RAX)).toBe(0xdeadbeef);
  });

  it('interrupts end, self-IPIs come', () => {
    board.code(At.HANDLER, ...wrmsr(0x80b, 0), HLT);
    expect(board.run([0xfb, 0x90, ...wrmsr(0x83f, 0x61), 0xeb, 0xfe])).toBe(ExitCode.HLT);
    expect(board.get(RIP)).toBe(At.HANDLER + 17);
    expect(bit(PAGE, R.ISR, 0x61)).toBe(false);
  });

  it('IPIs have 32-bit targets, clusters need no table', () => {
    entry(2, OTHER_PAGE, VALID | RUNNING);
    expect(board.run([...wrmsr(0x830, 0x852, 4), HLT])).toBe(ExitCode.HLT);
    expect(bit(OTHER_PAGE, R.IRR, 0x52)).toBe(true);
    expect(register(R.ICR_HIGH)).toBe(4);
  });

  it('other registers exit behind the write, or in its place', () => {
    const code = wrmsr(0x832, 0x20061);
    expect(board.run(code)).toBe(ExitCode.AVIC_NOACCEL);
    expect([board.get(EXIT_INFO1), board.get(RIP)]).toEqual([R.LVT_TIMER, At.GUEST + code.length]);
  });

  it.each([
    ['a read of EOI', rdmsr(0x80b)],
    ['a write of the version', wrmsr(0x803, 0)],
    ['an EOI of one', wrmsr(0x80b, 1)],
    ['a task priority of 256', wrmsr(0x808, 0x100)],
    ['the destination format', rdmsr(0x80e)],
  ])('%s is #GP', (_name, code) => {
    expect(board.run(code)).toBe(ExitCode.VMMCALL);
    expect(board.get(RIP)).toBe(At.HANDLER + 32);
  });
});
