import { injectMachineCheck } from '@nestvm/cpu';
import { ACTIVITY, Activity, GUEST_MODE, INTERRUPTIBILITY, Shadow } from '@nestvm/cpu/extension';
import { sensitiveEvents } from '@nestvm/isa';
import { beforeEach, describe, expect, it } from 'vitest';
import { ExitCode, exitCodeName, IntControl, interceptMap, Vmcb } from '../src/index.js';
import { NestedControl } from '../src/vmcb/layout.js';
import { At, Board } from './support/board.js';

const board = new Board();
beforeEach(() => board.prepare());

const { EXIT_INFO1, EXIT_INFO2, EXIT_INT_INFO, NEXT_RIP, RIP, RAX } = Vmcb;
const nextRip = (): number => board.get(NEXT_RIP) - At.GUEST;

it('answers every sensitive event of the ISA', () => {
  for (const event of sensitiveEvents) expect(interceptMap[event], event).toBeTypeOf('number');
});

describe('world switch', () => {
  it('saves the guest, restores the host, clears GIF', () => {
    board.cpu.setGpr(3, 0x1234n);
    // mov eax, 0x55; mov ebx, 0x66; vmmcall
    expect(board.run([0xb8, 0x55, 0, 0, 0, 0xbb, 0x66, 0, 0, 0, 0x0f, 0x01, 0xd9])).toBe(ExitCode.VMMCALL);
    expect(board.get(RAX)).toBe(0x55);
    expect(board.cpu.gpr(0)).toBe(BigInt(At.VMCB));
    // RBX is the software's to save.
    expect(board.cpu.gpr(3)).toBe(0x66n);
    expect(board.get(RIP)).toBe(At.GUEST + 10);
    expect(nextRip()).toBe(13);
    expect(board.cpu.w[GUEST_MODE]).toBe(0);
    expect(board.cpu.w[INTERRUPTIBILITY]! & Shadow.GIF).toBe(Shadow.GIF);
  });

  it('runs a guest in real mode', () => {
    board.set(Vmcb.CR0, 0x10);
    board.set(Vmcb.EFER, 0x1000);
    board.set(Vmcb.CR4, 0);
    board.segment(Vmcb.CS, 0x2000, 0x9b, 0x20000, 0xffff);
    for (const at of [Vmcb.SS, Vmcb.DS, Vmcb.ES]) board.segment(at, 0, 0x93, 0, 0xffff);
    board.set(RIP, 0);
    // mov ax, 0x1234; hlt
    expect(board.run([0xb8, 0x34, 0x12, 0xf4])).toBe(ExitCode.HLT);
    expect(board.get(RAX) & 0xffff).toBe(0x1234);
    expect(board.get(RIP)).toBe(3);
  });

  it('enters again where the guest was', () => {
    board.run([0x0f, 0x01, 0xd9, 0xff, 0xc0, 0xf4]);
    board.set(RIP, board.get(NEXT_RIP));
    board.set(RAX, 6);
    // The host of the second run; its HLT has passed.
    board.cpu.rip = BigInt(At.HOST);
    board.cpu.w[ACTIVITY] = 0;
    expect(board.run([0x0f, 0x01, 0xd9, 0xff, 0xc0, 0xf4])).toBe(ExitCode.HLT);
    expect(board.get(RAX)).toBe(7);
  });
});

describe('instruction intercepts', () => {
  const letBroadcast = (): void => board.set(Vmcb.NESTED_CONTROL, board.get(Vmcb.NESTED_CONTROL) | NestedControl.INVLPGB_ENABLE);
  const simple: readonly (readonly [name: string, code: number, bytes: readonly number[]])[] = [
    ['CPUID', ExitCode.CPUID, [0x0f, 0xa2]],
    ['RDTSC', ExitCode.RDTSC, [0x0f, 0x31]],
    ['RDTSCP', ExitCode.RDTSCP, [0x0f, 0x01, 0xf9]],
    ['RDPMC', ExitCode.RDPMC, [0x0f, 0x33]],
    ['RDPRU', ExitCode.RDPRU, [0x0f, 0x01, 0xfd]],
    ['PUSHF', ExitCode.PUSHF, [0x9c]],
    ['POPF', ExitCode.POPF, [0x9d]],
    ['IRET', ExitCode.IRET, [0x48, 0xcf]],
    ['INVD', ExitCode.INVD, [0x0f, 0x08]],
    ['WBINVD', ExitCode.WBINVD, [0x0f, 0x09]],
    ['PAUSE', ExitCode.PAUSE, [0xf3, 0x90]],
    ['INVLPGA', ExitCode.INVLPGA, [0x0f, 0x01, 0xdf]],
    ['INVLPGB', ExitCode.INVLPGB, [0x0f, 0x01, 0xfe]],
    ['TLBSYNC', ExitCode.TLBSYNC, [0x0f, 0x01, 0xff]],
    ['VMRUN', ExitCode.VMRUN, [0x0f, 0x01, 0xd8]],
    ['VMLOAD', ExitCode.VMLOAD, [0x0f, 0x01, 0xda]],
    ['VMSAVE', ExitCode.VMSAVE, [0x0f, 0x01, 0xdb]],
    ['STGI', ExitCode.STGI, [0x0f, 0x01, 0xdc]],
    ['CLGI', ExitCode.CLGI, [0x0f, 0x01, 0xdd]],
    ['SKINIT', ExitCode.SKINIT, [0x0f, 0x01, 0xde]],
    ['ICEBP', ExitCode.ICEBP, [0xf1]],
    ['SGDT', ExitCode.GDTR_READ, [0x0f, 0x01, 0x00]],
    ['LIDT', ExitCode.IDTR_WRITE, [0x0f, 0x01, 0x18]],
    ['SLDT', ExitCode.LDTR_READ, [0x0f, 0x00, 0xc0]],
    ['LTR', ExitCode.TR_WRITE, [0x0f, 0x00, 0xd8]],
  ];
  it.each(simple)('%s', (name, code, bytes) => {
    board.intercept(code);
    letBroadcast();
    expect(board.run(bytes)).toBe(code);
    expect(exitCodeName(code)).toContain(
      name === 'SGDT' ? 'GDTR_READ' : name === 'LIDT' ? 'IDTR' : name === 'SLDT' ? 'LDTR' : name === 'LTR' ? 'TR' : name,
    );
    expect(board.get(RIP)).toBe(At.GUEST);
    expect(nextRip()).toBe(bytes.length);
  });

  it.each(
    simple.filter(([name]) => name === 'CPUID' || name === 'RDTSC' || name === 'RDPRU' || name === 'PUSHF' || name === 'PAUSE' || name === 'WBINVD'),
  )('%s runs without its intercept', (_name, _code, bytes) => {
    expect(board.run([...bytes, 0xf4])).toBe(ExitCode.HLT);
  });

  it('INVLPGB and TLBSYNC are for guests that may have them, INVLPGB with what its manual allows', () => {
    board.set(Vmcb.EXCEPTION_INTERCEPTS, (1 << 6) | (1 << 13));
    for (const bytes of [
      [0x0f, 0x01, 0xfe],
      [0x0f, 0x01, 0xff],
    ]) {
      expect(board.run(bytes)).toBe(ExitCode.EXCEPTION + 6);
      board.prepare();
      board.set(Vmcb.EXCEPTION_INTERCEPTS, (1 << 6) | (1 << 13));
    }
    // mov eax, 0x800; xor ecx, ecx; xor edx, edx; invlpgb
    const illegal = [0xb8, 0, 8, 0, 0, 0x31, 0xc9, 0x31, 0xd2, 0x0f, 0x01, 0xfe];
    letBroadcast();
    expect(board.run(illegal)).toBe(ExitCode.EXCEPTION + 13);
    board.prepare();
    letBroadcast();
    board.intercept(ExitCode.INVLPGB_ILLEGAL);
    expect(board.run(illegal)).toBe(ExitCode.INVLPGB_ILLEGAL);
    board.prepare();
    letBroadcast();
    // xor eax, eax; xor ecx, ecx; xor edx, edx; invlpgb; tlbsync; hlt
    expect(board.run([0x31, 0xc0, 0x31, 0xc9, 0x31, 0xd2, 0x0f, 0x01, 0xfe, 0x0f, 0x01, 0xff, 0xf4])).toBe(ExitCode.HLT);
  });

  it('MOV to and from control and debug registers give the general register', () => {
    board.set(Vmcb.CR_INTERCEPTS, (1 << 3) | (1 << 20));
    // mov rbx, cr3
    expect(board.run([0x0f, 0x20, 0xdb])).toBe(ExitCode.CR0_READ + 3);
    expect([board.get(EXIT_INFO1), board.get(EXIT_INFO1 + 1)]).toEqual([3, 0x80000000]);
    board.prepare();
    board.set(Vmcb.CR_INTERCEPTS, 1 << 20);
    // mov r9d, 20h; mov cr4, r9
    expect(board.run([0x41, 0xb9, 0x20, 0, 0, 0, 0x41, 0x0f, 0x22, 0xe1])).toBe(ExitCode.CR0_WRITE + 4);
    expect(board.get(EXIT_INFO1)).toBe(9);
    board.prepare();
    board.set(Vmcb.DR_INTERCEPTS, 1 << 23);
    // mov dr7, rdx
    expect(board.run([0x0f, 0x23, 0xfa])).toBe(ExitCode.DR0_WRITE + 7);
    expect(board.get(EXIT_INFO1)).toBe(2);
  });

  it('the selective intercept of CR0 lets TS and MP pass', () => {
    board.intercept(ExitCode.CR0_SEL_WRITE);
    // mov rbx, cr0; xor ebx, 8; mov cr0, rbx; hlt
    const change = (bit: number): number[] => [0x0f, 0x20, 0xc3, 0x83, 0xf3, bit, 0x0f, 0x22, 0xc3, 0xf4];
    expect(board.run(change(8))).toBe(ExitCode.HLT);
    board.prepare();
    board.intercept(ExitCode.CR0_SEL_WRITE);
    expect(board.run(change(0x20))).toBe(ExitCode.CR0_SEL_WRITE);
    // CLTS and LMSW count as writes of CR0.
    board.prepare();
    board.set(Vmcb.CR_INTERCEPTS, 1 << 16);
    expect(board.run([0x0f, 0x06])).toBe(ExitCode.CR0_WRITE);
    expect(board.get(EXIT_INFO1 + 1)).toBe(0);
  });

  it('values that no control register may have are faults before they are intercepted', () => {
    const fault = (code: readonly number[]): number => {
      board.prepare();
      board.set(Vmcb.CR_INTERCEPTS, -1);
      board.set(Vmcb.EXCEPTION_INTERCEPTS, 1 << 13);
      return board.run([...code, 0xf4]);
    };
    const load = (lo: number, hi: number): number[] => [
      0x48,
      0xbb,
      ...[lo, hi].flatMap((v) => [v & 255, (v >>> 8) & 255, (v >>> 16) & 255, v >>> 24]),
    ];
    // mov cr0, rbx with PG without PE; cr3 with bit 60; cr4 with bit 31; cr8 with 10h: #GP
    for (const [register, lo, hi] of [
      [0, 0x80000010, 0],
      [3, At.TABLES, 1 << 28],
      [4, 0x80000020, 0],
    ] as const)
      expect(fault([...load(lo, hi), 0x0f, 0x22, 0xc3 | (register << 3)]), `CR${register}`).toBe(ExitCode.EXCEPTION + 13);
    expect(fault([...load(0x10, 0), 0x44, 0x0f, 0x22, 0xc3]), 'CR8').toBe(ExitCode.EXCEPTION + 13);
    expect(fault([...load(0x80010011, 0), 0x0f, 0x22, 0xc3])).toBe(ExitCode.CR0_WRITE);
    // mov ecx, 99; rdpmc: no such counter
    board.prepare();
    board.intercept(ExitCode.RDPMC);
    board.set(Vmcb.EXCEPTION_INTERCEPTS, 1 << 13);
    expect(board.run([0xb9, 99, 0, 0, 0, 0x0f, 0x33])).toBe(ExitCode.EXCEPTION + 13);
    // lmsw [rbx], from where there is no memory
    expect(fault([...load(0, 0x100), 0x0f, 0x01, 0x33])).toBe(ExitCode.CR0_WRITE);
  });

  it('the plain intercept of CR0 comes before the selective one, which takes every LMSW and no CLTS', () => {
    const run = (cr: number, code: readonly number[]): number => {
      board.prepare();
      board.intercept(ExitCode.CR0_SEL_WRITE);
      board.set(Vmcb.CR_INTERCEPTS, cr);
      return board.run([...code, 0xf4]);
    };
    // mov rbx, cr0; xor ebx, 20h; mov cr0, rbx
    expect(run(1 << 16, [0x0f, 0x20, 0xc3, 0x83, 0xf3, 0x20, 0x0f, 0x22, 0xc3])).toBe(ExitCode.CR0_WRITE);
    // smsw ebx; lmsw bx: nothing changes
    expect(run(0, [0x0f, 0x01, 0xe3, 0x0f, 0x01, 0xf3])).toBe(ExitCode.CR0_SEL_WRITE);
    expect(run(1 << 16, [0x0f, 0x01, 0xe3, 0x0f, 0x01, 0xf3])).toBe(ExitCode.CR0_WRITE);
    expect(run(0, [0x0f, 0x06])).toBe(ExitCode.HLT);
  });

  it('port I/O by the permission map', () => {
    board.intercept(ExitCode.IOIO);
    board.memory.write8(At.IOPM + (0x3f8 >>> 3), 1 << 2);
    // out 0x80, al passes; mov dx, 0x3f9 (4 bytes reach port 3fah); out dx, eax
    expect(board.run([0xe6, 0x80, 0x66, 0xba, 0xf9, 0x03, 0xef])).toBe(ExitCode.IOIO);
    expect(board.outputs).toEqual(['80/1=0']);
    expect(board.get(EXIT_INFO1)).toBe((0x3f9 << 16) | 0x240);
    expect(board.get(EXIT_INFO2)).toBe(At.GUEST + 7);
    board.prepare();
    board.intercept(ExitCode.IOIO);
    board.memory.write8(At.IOPM + (0x60 >>> 3), 1);
    // mov edx, 0x60; mov ecx, 1; rep insb
    expect(board.run([0xba, 0x60, 0, 0, 0, 0xb9, 1, 0, 0, 0, 0xf3, 0x6c])).toBe(ExitCode.IOIO);
    expect(board.get(EXIT_INFO1)).toBe((0x60 << 16) | 0x21d);
  });

  it('MSRs by the permission map, and always outside of its ranges', () => {
    board.intercept(ExitCode.MSR);
    // MSR C000_0081H write: bit 2 × 81H + 1 from 800H on.
    board.memory.write8(At.MSRPM + 0x800 + (0x102 >>> 3), 1 << (0x103 & 7));
    const access = (index: number, write: boolean): number[] => [
      0xb9,
      index & 255,
      (index >>> 8) & 255,
      (index >>> 16) & 255,
      index >>> 24,
      0x0f,
      write ? 0x30 : 0x32,
      0xf4,
    ];
    expect(board.run(access(0xc0000081, false))).toBe(ExitCode.HLT);
    board.prepare();
    board.intercept(ExitCode.MSR);
    board.memory.write8(At.MSRPM + 0x800 + (0x102 >>> 3), 1 << (0x103 & 7));
    expect(board.run(access(0xc0000081, true))).toBe(ExitCode.MSR);
    expect(board.get(EXIT_INFO1)).toBe(1);
    board.prepare();
    board.intercept(ExitCode.MSR);
    expect(board.run(access(0x4000_0000, false))).toBe(ExitCode.MSR);
    expect(board.get(EXIT_INFO1)).toBe(0);
  });

  it('idle HLT is intercepted when nothing virtual is pending, and not where HLT is', () => {
    const halt = (control: number, ...codes: readonly number[]): number => {
      board.prepare();
      board.set(Vmcb.INTERCEPTS, 0);
      board.set(Vmcb.INT_CONTROL, control);
      board.intercept(...codes);
      return board.run([0xf4]);
    };
    const activity = (): number => board.cpu.w[ACTIVITY]!;
    expect([halt(0, ExitCode.IDLE_HLT), board.get(RIP)]).toEqual([ExitCode.IDLE_HLT, At.GUEST]);
    expect(halt(0, ExitCode.IDLE_HLT, ExitCode.HLT)).toBe(ExitCode.HLT);
    // They wait for IF and for the end of another NMI, and the guest with them: no exit.
    expect([halt(IntControl.V_IRQ, ExitCode.IDLE_HLT), activity()]).toEqual([0, Activity.HLT]);
    const nmi = IntControl.V_NMI | IntControl.V_NMI_ENABLE | IntControl.V_NMI_MASK;
    expect([halt(nmi, ExitCode.IDLE_HLT, ExitCode.NMI), activity()]).toEqual([0, Activity.HLT]);
  });

  it('the PAUSE filter lets its count pass', () => {
    board.intercept(ExitCode.PAUSE);
    board.set(Vmcb.PAUSE_FILTER, 2 << 16);
    expect(board.run([0xf3, 0x90, 0xf3, 0x90, 0xf3, 0x90, 0xf4])).toBe(ExitCode.PAUSE);
    expect(board.get(RIP)).toBe(At.GUEST + 4);
  });

  it('INVLPG and INT n tell their operand', () => {
    board.intercept(ExitCode.INVLPG, ExitCode.SWINT);
    // mov eax, 0x12345; invlpg [rax]
    expect(board.run([0xb8, 0x45, 0x23, 0x01, 0x00, 0x0f, 0x01, 0x38])).toBe(ExitCode.INVLPG);
    expect(board.get(EXIT_INFO1)).toBe(0x12345);
    board.prepare();
    board.intercept(ExitCode.SWINT);
    expect(board.run([0xcd, 0x80])).toBe(ExitCode.SWINT);
    expect(board.get(EXIT_INFO1)).toBe(0x80);
    expect(nextRip()).toBe(2);
  });
});

describe('events', () => {
  it('an interrupt exits and stays pending', () => {
    board.intercept(ExitCode.INTR);
    board.set(Vmcb.INT_CONTROL, IntControl.V_INTR_MASKING);
    board.cpu.writeRflags(0x202);
    board.lines.vector = 0x31;
    // Held back by GIF until VMRUN.
    board.cpu.w[INTERRUPTIBILITY] = Shadow.GIF;
    expect(board.run([0xeb, 0xfe])).toBe(ExitCode.INTR);
    expect(board.get(RIP)).toBe(At.GUEST);
    expect(board.lines.vector).toBe(0x31);
  });

  it('under V_INTR_MASKING the IF of the host decides', () => {
    board.intercept(ExitCode.INTR);
    board.set(Vmcb.INT_CONTROL, IntControl.V_INTR_MASKING);
    board.lines.vector = 0x31;
    board.set(Vmcb.RFLAGS, 0x202);
    expect(board.run([0xf4])).toBe(ExitCode.HLT);
  });

  it('a machine check for VMRUN comes behind it, as an exception of the guest', () => {
    board.set(Vmcb.CR4, 0x60);
    board.set(Vmcb.EXCEPTION_INTERCEPTS, 1 << 18);
    const check = { bank: 1, status: 5n << 61n, globalStatus: 1n, address: 0n, misc: 0n, duringEntry: true };
    expect(injectMachineCheck(board.cpu, check)).toBe('signalled');
    expect(board.run([0xeb, 0xfe])).toBe(ExitCode.EXCEPTION + 18);
    expect([board.get(RIP), Number(board.cpu.get64('mcgStatus'))]).toEqual([At.GUEST, 5]);
  });

  it('an NMI exits and comes to the host with STGI', () => {
    board.gdt();
    board.intercept(ExitCode.NMI);
    board.gate(At.IDT, 2, At.HANDLER);
    board.cpu.set32('idtrLimit', 0xfff);
    board.code(At.HANDLER, 0xf4);
    board.lines.nmi = true;
    board.cpu.w[INTERRUPTIBILITY] = Shadow.GIF;
    expect(board.run([0xeb, 0xfe])).toBe(ExitCode.NMI);
    expect(Number(board.cpu.rip)).toBe(At.HOST + 4);
    // stgi; hlt
    board.code(At.HOST + 4, 0x0f, 0x01, 0xdc, 0xf4);
    board.cpu.w[ACTIVITY] = 0;
    board.interpreter.run(1000);
    expect(Number(board.cpu.rip)).toBe(At.HANDLER + 1);
  });

  it('injects interrupts, exceptions with error codes and software interrupts', () => {
    board.gdt();
    board.gate(At.GUEST_IDT, 0x50, At.HANDLER);
    board.code(At.HANDLER, 0xf4);
    board.set(Vmcb.EVENT_INJECTION, 0x80000050 | 0);
    expect(board.run([0xf4])).toBe(ExitCode.HLT);
    expect(board.get(RIP)).toBe(At.HANDLER);
    expect(board.get(Vmcb.EVENT_INJECTION)).toBe(0);
    board.prepare();
    board.gdt();
    board.gate(At.GUEST_IDT, 13, At.HANDLER);
    // pop rax; hlt
    board.code(At.HANDLER, 0x58, 0xf4);
    board.set(Vmcb.EVENT_INJECTION, 0x80000b0d | 0, 0x1234);
    expect(board.run([0xf4])).toBe(ExitCode.HLT);
    expect(board.get(RAX)).toBe(0x1234);
    board.prepare();
    board.gdt();
    board.gate(At.GUEST_IDT, 0x40, At.HANDLER);
    board.code(At.HANDLER, 0x58, 0xf4);
    board.set(Vmcb.EVENT_INJECTION, 0x80000440 | 0);
    board.set(NEXT_RIP, At.GUEST + 2);
    expect(board.run([0xcd, 0x40])).toBe(ExitCode.HLT);
    expect(board.get(RAX)).toBe(At.GUEST + 2);
  });

  it('injects #BP and #OF as the traps of INT3 and INTO: without RF, and the DPL of the gate counts', () => {
    board.gdt();
    board.gate(At.GUEST_IDT, 3, At.HANDLER);
    // pop rax; pop rax; pop rax; hlt
    board.code(At.HANDLER, 0x58, 0x58, 0x58, 0xf4);
    board.set(Vmcb.EVENT_INJECTION, 0x80000303 | 0);
    board.set(NEXT_RIP, At.GUEST + 1);
    expect(board.run([0xcc])).toBe(ExitCode.HLT);
    expect(board.get(RAX) & (1 << 16)).toBe(0);
    board.prepare();
    board.gdt();
    board.gate(At.GUEST_IDT, 3, At.HANDLER);
    board.set(Vmcb.CPL_WORD, 3 << 24);
    board.set(Vmcb.EXCEPTION_INTERCEPTS, 1 << 13);
    board.set(Vmcb.EVENT_INJECTION, 0x80000303 | 0);
    board.set(NEXT_RIP, At.GUEST + 1);
    expect(board.run([0xcc])).toBe(ExitCode.EXCEPTION + 13);
    expect([board.get(EXIT_INFO1), board.get(Vmcb.EXIT_INT_INFO) >>> 0]).toEqual([3 * 8 + 2, 0x80000303]);
  });

  it('refuses to inject exceptions that the guest cannot have', () => {
    // #BR in 64-bit mode, #VC without SEV-ES, #CP without CET.
    for (const vector of [5, 29, 21]) {
      board.prepare();
      board.set(Vmcb.EVENT_INJECTION, 0x80000300 | vector | 0);
      expect(board.run([0xf4]) | 0, `vector ${vector}`).toBe(ExitCode.INVALID);
    }
  });

  it('delivers virtual interrupts by priority, or intercepts them', () => {
    board.gdt();
    board.gate(At.GUEST_IDT, 0x60, At.HANDLER);
    board.code(At.HANDLER, 0xf4);
    const control = IntControl.V_INTR_MASKING | IntControl.V_IRQ | (6 << IntControl.V_PRIORITY_SHIFT);
    board.set(Vmcb.INT_CONTROL, control | 6, 0x60);
    // sti; nop; mov eax, 5; mov cr8, rax; nop; hlt: the TPR of 6 holds it back until it is 5.
    expect(board.run([0xfb, 0x90, 0xb8, 5, 0, 0, 0, 0x44, 0x0f, 0x22, 0xc0, 0x90, 0xf4])).toBe(ExitCode.HLT);
    expect(board.get(RIP)).toBe(At.HANDLER);
    expect(board.get(RAX)).toBe(5);
    expect(board.get(Vmcb.INT_CONTROL) & IntControl.V_IRQ).toBe(0);
    board.prepare();
    board.intercept(ExitCode.VINTR);
    board.set(Vmcb.INT_CONTROL, control, 0x60);
    expect(board.run([0x90, 0xfb, 0x90, 0x90, 0xf4])).toBe(ExitCode.VINTR);
    // The shadow of STI ends behind the next instruction.
    expect(board.get(RIP)).toBe(At.GUEST + 3);
    expect(board.get(Vmcb.INT_CONTROL) & IntControl.V_IRQ).toBe(IntControl.V_IRQ);
  });

  it('virtual GIF and virtual NMIs', () => {
    board.gdt();
    board.gate(At.GUEST_IDT, 2, At.HANDLER);
    board.code(At.HANDLER, 0x48, 0xcf);
    board.intercept(ExitCode.NMI, ExitCode.IRET);
    board.set(Vmcb.INT_CONTROL, IntControl.V_NMI_ENABLE | IntControl.V_NMI | IntControl.V_GIF_ENABLE);
    // nop; stgi: the NMI waits for the guest's GIF.
    expect(board.run([0x90, 0x0f, 0x01, 0xdc, 0xf4])).toBe(ExitCode.IRET);
    expect(board.get(RIP)).toBe(At.HANDLER);
    expect(board.get(Vmcb.INT_CONTROL) & (IntControl.V_NMI | IntControl.V_NMI_MASK | IntControl.V_GIF)).toBe(
      IntControl.V_NMI_MASK | IntControl.V_GIF,
    );
  });
});

it('CR8 is V_TPR as well when interrupts are not masked virtually', () => {
  // mov ebx, 9; mov cr8, rbx
  expect(board.run([0xbb, 9, 0, 0, 0, 0x44, 0x0f, 0x22, 0xc3, 0xf4])).toBe(ExitCode.HLT);
  expect(board.get(Vmcb.INT_CONTROL) & 0xff).toBe(9);
});

it('an exit in the delivery of a virtual NMI leaves virtual NMIs unmasked', () => {
  board.intercept(ExitCode.NMI);
  board.set(Vmcb.EXCEPTION_INTERCEPTS, -1);
  board.set(Vmcb.IDTR + 1, 0);
  board.set(Vmcb.INT_CONTROL, IntControl.V_NMI_ENABLE | IntControl.V_NMI);
  expect(board.run([0xf4])).toBe(ExitCode.EXCEPTION + 13);
  expect(board.get(EXIT_INT_INFO)).toBe(0x80000202);
  expect(board.get(Vmcb.INT_CONTROL) & (IntControl.V_NMI | IntControl.V_NMI_MASK)).toBe(0);
});

describe('INIT', () => {
  it('is intercepted and stays pending', () => {
    board.intercept(ExitCode.INIT);
    board.lines.init = true;
    board.cpu.w[INTERRUPTIBILITY] = Shadow.GIF;
    expect(board.run([0xeb, 0xfe])).toBe(ExitCode.INIT);
  });

  it('ends guest mode when it is not', () => {
    board.lines.init = true;
    board.cpu.w[INTERRUPTIBILITY] = Shadow.GIF;
    board.run([0xeb, 0xfe], 3);
    expect(board.cpu.w[GUEST_MODE]).toBe(0);
    expect(board.svm.context.mmu.inGuest).toBe(false);
    expect(board.cpu.get32('cr0')).toBe(0x10);
  });

  it('becomes #SX under VM_CR.R_INIT', () => {
    board.gdt();
    board.gate(At.GUEST_IDT, 30, At.HANDLER);
    // pop rax; hlt
    board.code(At.HANDLER, 0x58, 0xf4);
    board.cpu.msrs.write(0xc0010114, 2, 0);
    board.lines.init = true;
    board.cpu.w[INTERRUPTIBILITY] = Shadow.GIF;
    expect(board.run([0xeb, 0xfe])).toBe(ExitCode.HLT);
    expect(board.get(RAX)).toBe(1);
  });
});

it('virtual VMLOAD and VMSAVE go through the nested tables', () => {
  board.set(Vmcb.VIRTUAL_EXTENSIONS, 2);
  // mov eax, 0x38000; vmsave; mov eax, 0x300000; vmload
  expect(board.run([0xb8, 0x00, 0x80, 0x03, 0, 0x0f, 0x01, 0xdb, 0xb8, 0, 0, 0x30, 0, 0x0f, 0x01, 0xda])).toBe(ExitCode.NPF);
  expect(board.get(EXIT_INFO2)).toBe(0x300000);
  expect(board.get(RIP)).toBe(At.GUEST + 13);
});
