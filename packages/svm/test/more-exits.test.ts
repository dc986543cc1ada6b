import { ACTIVITY, EFER, GUEST_MODE, INTERRUPTIBILITY, Shadow, SMM } from '@nestvm/cpu/extension';
import { beforeEach, describe, expect, it } from 'vitest';
import { controlRows } from '../src/checks/control-rows.js';
import { ExitCode, exitCodeName, IntControl, Vmcb } from '../src/index.js';
import { At, Board } from './support/board.js';

const board = new Board();
const { cpu, lines, memory } = board;
beforeEach(() => {
  board.prepare();
  lines.smi = lines.nmi = lines.init = false;
  lines.vector = -1;
});

const { EXIT_INFO1, EXIT_INFO2, EXIT_INT_INFO, NEXT_RIP, RIP, RAX } = Vmcb;
const VMMCALL = [0x0f, 0x01, 0xd9];

describe('instructions like their neighbours', () => {
  const simple: readonly (readonly [name: string, code: number, bytes: readonly number[]])[] = [
    ['SIDT', ExitCode.IDTR_READ, [0x0f, 0x01, 0x08]],
    ['LGDT', ExitCode.GDTR_WRITE, [0x0f, 0x01, 0x10]],
    ['STR', ExitCode.TR_READ, [0x0f, 0x00, 0xc8]],
    ['LLDT', ExitCode.LDTR_WRITE, [0x0f, 0x00, 0xd0]],
    ['MONITOR', ExitCode.MONITOR, [0x0f, 0x01, 0xc8]],
    ['XSETBV', ExitCode.XSETBV, [0x0f, 0x01, 0xd1]],
  ];
  it.each(simple)('%s', (_name, code, bytes) => {
    board.set(Vmcb.CR4, 0x40020);
    board.intercept(code);
    // mov eax, 0x48000; xor ecx, ecx; xor edx, edx: an address for those that want one
    const before = [0xb8, 0, 0x80, 0x04, 0, 0x31, 0xc9, 0x31, 0xd2];
    expect(exitCodeName(board.run([...before, ...bytes]))).toBe(exitCodeName(code));
    expect(board.get(RIP)).toBe(At.GUEST + before.length);
    expect(board.get(NEXT_RIP)).toBe(At.GUEST + before.length + bytes.length);
  });

  it('INVPCID, on a CPU that has it', () => {
    const rome = new Board('host,vendor=amd');
    rome.intercept(ExitCode.INVPCID);
    // xor ecx, ecx; invpcid rcx, [rip]: type 0, and what follows as its descriptor
    expect(exitCodeName(rome.run([0x31, 0xc9, 0x66, 0x0f, 0x38, 0x82, 0x0d, 0, 0, 0, 0]))).toBe('INVPCID');
    expect(rome.get(NEXT_RIP)).toBe(At.GUEST + 11);
  });

  it('MWAIT: armed and not have intercepts of their own', () => {
    // mov eax, 0x48000; xor ecx, ecx; xor edx, edx; monitor; mwait
    const armed = [0xb8, 0, 0x80, 0x04, 0, 0x31, 0xc9, 0x31, 0xd2, 0x0f, 0x01, 0xc8, 0x0f, 0x01, 0xc9, 0xf4];
    const idle = [0x31, 0xc9, 0x0f, 0x01, 0xc9, 0xf4];
    board.intercept(ExitCode.MWAIT_CONDITIONAL);
    expect(board.run(armed)).toBe(ExitCode.MWAIT_CONDITIONAL);
    board.prepare();
    board.intercept(ExitCode.MWAIT_CONDITIONAL);
    expect(board.run(idle)).toBe(ExitCode.HLT);
    board.prepare();
    board.intercept(ExitCode.MWAIT);
    expect(board.run(idle)).toBe(ExitCode.MWAIT);
  });

  it('the PAUSE filter counts anew when PAUSEs are further apart than its threshold', () => {
    const pauses = Array.from({ length: 6 }, () => [0xf3, 0x90]).flat();
    board.intercept(ExitCode.PAUSE);
    board.set(Vmcb.PAUSE_FILTER, (1 << 16) | 100);
    // Close together: the second one exits.
    expect(board.run([...pauses, 0xf4])).toBe(ExitCode.PAUSE);
    const close = board.get(RIP);
    expect(close).toBeLessThanOrEqual(At.GUEST + 4);
    board.prepare();
    board.intercept(ExitCode.PAUSE);
    board.set(Vmcb.PAUSE_FILTER, (1 << 16) | 100);
    const { clock } = cpu as unknown as { clock: { nowNs: () => number } };
    const { nowNs } = clock;
    // A clock that moves at each look: all are far apart.
    let time = 1_000_000;
    clock.nowNs = () => {
      time += 1_000_000;
      return time;
    };
    expect(board.run([...pauses, 0xf4])).toBe(ExitCode.HLT);
    clock.nowNs = nowNs;
  });

  it('INVLPGA drops the translations of the ASID in ECX', () => {
    // In the host: mov eax, 0x48000; mov ecx, 1; invlpga; hlt: no fault, whatever the ASID.
    board.code(At.HOST, 0xb8, 0, 0x80, 0x04, 0, 0xb9, 1, 0, 0, 0, 0x0f, 0x01, 0xdf, 0xf4);
    board.interpreter.run(100);
    expect(Number(cpu.rip)).toBe(At.HOST + 14);
  });

  it('INT1 is not intercepted as #DB, but by its own bit alone', () => {
    board.gdt();
    board.gate(At.GUEST_IDT, 1, At.HANDLER);
    board.code(At.HANDLER, 0xf4);
    board.set(Vmcb.EXCEPTION_INTERCEPTS, 1 << 1);
    expect(board.run([0xf1])).toBe(ExitCode.HLT);
    expect(board.get(RIP)).toBe(At.HANDLER);
  });
});

describe('task switches', () => {
  it('exit with the selector of the new TSS and what started them', () => {
    // A 32-bit guest with a TSS descriptor at 18h.
    board.set(Vmcb.EFER, 0x1000);
    board.set(Vmcb.CR0, 0x11);
    board.set(Vmcb.CR4, 0);
    board.segment(Vmcb.CS, 8, 0xc9b);
    board.gdt();
    board.view.setUint32(0x8018, 0x8000_0067 & 0xffff, true);
    board.view.setUint32(0x801c, 0x00008904, true);
    board.segment(Vmcb.TR, 0x20, 0x8b, 0x44000, 0x67);
    board.intercept(ExitCode.TASK_SWITCH);
    // ljmp 0x18:0
    expect(board.run([0xea, 0, 0, 0, 0, 0x18, 0])).toBe(ExitCode.TASK_SWITCH);
    expect(board.get(EXIT_INFO1)).toBe(0x18);
    expect(board.get(EXIT_INFO2 + 1) & 0x50).toBe(0x40);
    expect(board.get(RIP)).toBe(At.GUEST);
    board.set(RIP, At.GUEST);
    cpu.rip = BigInt(At.HOST);
    cpu.w[ACTIVITY] = 0;
    // lcall 0x18:0
    expect(board.run([0x9a, 0, 0, 0, 0, 0x18, 0])).toBe(ExitCode.TASK_SWITCH);
    expect(board.get(EXIT_INFO2 + 1) & 0x50).toBe(0);
  });

  it('through a gate tell the event in EXITINTINFO', () => {
    board.set(Vmcb.EFER, 0x1000);
    board.set(Vmcb.CR0, 0x11);
    board.set(Vmcb.CR4, 0);
    board.segment(Vmcb.CS, 8, 0xc9b);
    board.gdt();
    board.view.setUint32(0x8018, 0x67, true);
    board.view.setUint32(0x801c, 0x00008904, true);
    board.segment(Vmcb.TR, 0x20, 0x8b, 0x44000, 0x67);
    // Task gate for #GP.
    board.view.setUint32(At.GUEST_IDT + 8 * 13, 0x18 << 16, true);
    board.view.setUint32(At.GUEST_IDT + 8 * 13 + 4, 0x8500, true);
    board.intercept(ExitCode.TASK_SWITCH);
    board.set(Vmcb.EVENT_INJECTION, 0x80000b0d | 0, 0x24);
    expect(board.run([0xf4])).toBe(ExitCode.TASK_SWITCH);
    expect(board.get(EXIT_INT_INFO)).toBe((0x80000b0d | 0) >>> 0);
    expect([board.get(EXIT_INFO2), board.get(EXIT_INFO2 + 1) & (1 << 12)]).toEqual([0x24, 1 << 12]);
  });
});

describe('SMM', () => {
  /** Handler at SMBASE + 8000h. */
  const handler = (...bytes: number[]): void => board.code(0x38000, ...bytes);

  it('an intercepted SMI exits and waits for GIF', () => {
    board.intercept(ExitCode.SMI);
    lines.smi = true;
    cpu.w[INTERRUPTIBILITY] = Shadow.GIF;
    expect([board.run([0xeb, 0xfe]), board.get(EXIT_INFO1)]).toEqual([ExitCode.SMI, 1]);
    expect(cpu.w[SMM]).toBe(0);
    handler(0xf4);
    // stgi
    board.code(At.HOST + 4, 0x0f, 0x01, 0xdc, 0xf4);
    cpu.w[ACTIVITY] = 0;
    board.interpreter.run(100);
    expect(cpu.w[SMM]).toBe(1);
  });

  it('an SMI is not intercepted under HWCR.SMMLOCK', () => {
    board.intercept(ExitCode.SMI);
    cpu.msrs.write(0xc001_0015, 1, 0);
    handler(0xf4);
    lines.smi = true;
    board.run([0xeb, 0xfe]);
    expect([cpu.w[SMM], cpu.w[GUEST_MODE]]).toEqual([1, 0]);
  });

  it('another one runs its handler outside of guest mode, and RSM goes back into it', () => {
    lines.smi = true;
    cpu.w[INTERRUPTIBILITY] = Shadow.GIF;
    // mov byte [0x7000], 0x77 (16-bit addressing of segment 0); rsm
    handler(0xc6, 0x06, 0x00, 0x70, 0x77, 0x0f, 0xaa);
    // mov eax, 5; vmmcall: after the handler, since the SMI comes before its first instruction.
    expect(board.run([0xb8, 5, 0, 0, 0, ...VMMCALL])).toBe(ExitCode.VMMCALL);
    expect(memory.read8(0x7000)).toBe(0x77);
    expect(board.get(RAX)).toBe(5);
    expect(cpu.w[EFER]! & 0x1000).toBe(0x1000);
    expect(cpu.w[GUEST_MODE]).toBe(0);
  });

  it('RSM outside of SMM: the intercept comes before #UD', () => {
    board.intercept(ExitCode.RSM);
    expect(board.run([0x0f, 0xaa])).toBe(ExitCode.RSM);
    board.prepare();
    board.set(Vmcb.EXCEPTION_INTERCEPTS, 1 << 6);
    expect(board.run([0x0f, 0xaa])).toBe(ExitCode.EXCEPTION + 6);
  });
});

describe('what the guest keeps', () => {
  it('the interrupt shadow goes into the VMCB and comes back', () => {
    board.gdt();
    board.gate(At.GUEST_IDT, 0x60, At.HANDLER);
    board.code(At.HANDLER, 0xf4);
    // A virtual interrupt waits. sti; vmmcall: the exit is in the shadow.
    board.set(Vmcb.INT_CONTROL, IntControl.V_INTR_MASKING | IntControl.V_IRQ | (6 << IntControl.V_PRIORITY_SHIFT), 0x60);
    expect(board.run([0xfb, ...VMMCALL])).toBe(ExitCode.VMMCALL);
    expect(board.get(Vmcb.INT_STATE) & 1).toBe(1);
    // It still comes behind the next instruction only.
    board.set(RIP, At.GUEST + 4);
    cpu.rip = BigInt(At.HOST);
    cpu.w[ACTIVITY] = 0;
    // mov eax, 9; nop; jmp $
    expect(board.run([0xfb, ...VMMCALL, 0xb8, 9, 0, 0, 0, 0x90, 0xeb, 0xfe])).toBe(ExitCode.HLT);
    expect([board.get(RIP), board.get(RAX)]).toEqual([At.HANDLER, 9]);
  });

  it('paged real mode: CR0.PG without PE under nested paging', () => {
    board.set(Vmcb.CR0, 0x80000010 | 0);
    board.set(Vmcb.EFER, 0x1000);
    board.set(Vmcb.CR4, 0x10);
    // 32-bit tables: 4 MiB page 0.
    memory.write32(0x7000, 0x83);
    board.set(Vmcb.CR3, 0x7000);
    board.segment(Vmcb.CS, 0x2000, 0x9b, 0x20000, 0xffff);
    for (const at of [Vmcb.SS, Vmcb.DS, Vmcb.ES]) board.segment(at, 0, 0x93, 0, 0xffff);
    board.set(RIP, 0);
    // mov ax, 0x1234; hlt
    expect(board.run([0xb8, 0x34, 0x12, 0xf4])).toBe(ExitCode.HLT);
    expect(board.get(RAX) & 0xffff).toBe(0x1234);
  });

  it('G_PAT is the guest’s PAT, and the host gets its own back', () => {
    board.set(Vmcb.G_PAT, 0x00010406, 0x00070406);
    cpu.msrs.write(0x277, 0x00070406, 0x00070405);
    // mov ecx, 0x277; rdmsr; hlt
    expect(board.run([0xb9, 0x77, 2, 0, 0, 0x0f, 0x32, 0xf4])).toBe(ExitCode.HLT);
    expect(board.get(RAX)).toBe(0x00010406);
    cpu.msrs.read(0x277);
    expect([cpu.lo, cpu.hi]).toEqual([0x00070406, 0x00070405]);
  });
});

describe('legacy paging (np = 0)', () => {
  it('the guest’s CR3 is translated by the host’s memory alone, with ASIDs apart', () => {
    board.set(Vmcb.NESTED_CONTROL, 0);
    board.set(Vmcb.NCR3, 0);
    // Tables of the guest's own that map its first 2 MiB and nothing else.
    memory.write32(0x44000, 0x45007);
    memory.write32(0x45000, 0x46007);
    memory.write32(0x46000, 0x83);
    board.set(Vmcb.CR3, 0x44000);
    board.set(Vmcb.EXCEPTION_INTERCEPTS, 1 << 14);
    expect(board.run([0x8b, 0x04, 0x25, 0, 0x80, 0x04, 0, 0x8b, 0x04, 0x25, 0, 0, 0x20, 0])).toBe(ExitCode.EXCEPTION + 14);
    expect(board.get(EXIT_INFO2)).toBe(0x200000);
    expect(board.get(RIP)).toBe(At.GUEST + 7);
  });
});

it('NP_ENABLE on a CPU without nested paging is an invalid VMCB', () => {
  const plain = new Board('EPYC,svm=on,npt=off');
  expect(plain.run([0xf4])).toBe(0xffffffff);
  const row = controlRows.find(({ id }) => id === 'svm.c.npcap')!;
  plain.svm.view.v = plain.v;
  expect(row.ok(plain.svm.view)).toBe(false);
});

it('after a load of the state the ledger is empty and the next VMRUN works as before', () => {
  expect(board.run([0xf4])).toBe(ExitCode.HLT);
  const saved = cpu.w.slice();
  // The state of another run goes over it, and back.
  board.prepare();
  expect(board.run([...VMMCALL])).toBe(ExitCode.VMMCALL);
  cpu.w.set(saved);
  board.svm.restored();
  expect(board.svm.inspect(true)).toEqual([]);
  expect(board.svm.context.mmu.inGuest).toBe(false);
  cpu.rip = BigInt(At.HOST);
  cpu.w[ACTIVITY] = 0;
  board.set(RIP, At.GUEST);
  board.set(RAX, 0);
  expect(board.run([0xb8, 7, 0, 0, 0, 0xf4])).toBe(ExitCode.HLT);
  expect(board.get(RAX)).toBe(7);
});
