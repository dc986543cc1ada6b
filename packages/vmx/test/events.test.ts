import { createNullInterruptSource, type InterruptSource, injectMachineCheck, type MachineCheck } from '@nestvm/cpu';
import { vcpuState } from '@nestvm/isa';
import { describe, expect, it } from 'vitest';
import { arrangeControl } from '../src/checks/arrange.js';
import { F, VmcsHeader } from '../src/fields/layout.js';
import { ExitReason as R } from '../src/transitions/reasons.js';
import { switchOn } from './guest-code.js';
import { createLevel, type Level, Place } from './level.js';

const INTERRUPTIBILITY = vcpuState.offset.interruptibility / 4;
const ACTIVITY = vcpuState.offset.activity / 4;
const GUEST_MODE = vcpuState.offset.guestMode / 4;
const XSS = vcpuState.offset.xss / 4;
const BLOCKED_BY_NMI = 4;
const SMM_ENTRY = 0x3_8000;
const PAT = 0x277;
const EFER = 0xc000_0080;
const DEBUGCTL = 0x1d9;
const SPEC_CTRL = 0x48;

function run(level: Level, code: string): number {
  level.c.set(F.GUEST_RIP, Place.L2);
  level.guest((a) => a.text(`${code}\nvmcall`));
  return level.enter();
}

/** One event of a kind, pending from the next VM entry on: L1 never sees it (but an INIT, which waits there). */
function pend(level: Level, events: { nmi?: boolean; smi?: boolean; init?: boolean; sipi?: number }): void {
  const left = { nmi: false, smi: false, init: false, sipi: -1, ...events };
  const inGuest = (): boolean => level.w[GUEST_MODE] !== 0;
  const source: InterruptSource = {
    ...createNullInterruptSource(),
    takeNmi: () => inGuest() && left.nmi && !(left.nmi = false),
    takeSmi: () => inGuest() && left.smi && !(left.smi = false),
    takeInit: () => left.init && !(left.init = false),
    takeSipi: () => {
      const vector = inGuest() ? left.sipi : -1;
      if (vector >= 0) left.sipi = -1;
      return vector;
    },
  };
  level.cpu.connectInterrupts(source);
  level.cpu.requestAttention();
}

describe('external interrupts', () => {
  it('exit whatever RFLAGS.IF is, and stay pending unless they are acknowledged', () => {
    const level = createLevel();
    switchOn(level, 'pin.EXTERNAL_INTERRUPT_EXITING');
    arrangeControl(level.c, 'exit', 'ACKNOWLEDGE_INTERRUPT', false);
    let pending = true;
    level.cpu.connectInterrupts({ ...createNullInterruptSource(), intr: () => pending, acknowledge: () => ((pending = false), 0x55) });
    expect(run(level, 'nop')).toBe(R.EXTERNAL_INTERRUPT);
    expect([level.c.lo(F.EXIT_INTERRUPTION_INFORMATION), pending]).toEqual([0, true]);
    switchOn(level, 'exit.ACKNOWLEDGE_INTERRUPT');
    expect(run(level, 'nop')).toBe(R.EXTERNAL_INTERRUPT);
    expect([level.c.lo(F.EXIT_INTERRUPTION_INFORMATION) >>> 0, pending]).toEqual([0x8000_0055, false]);
  });
});

describe('NMIs', () => {
  it('exit under NMI exiting, and are blocked in L1 until its IRET', () => {
    const level = createLevel();
    switchOn(level, 'pin.NMI_EXITING');
    pend(level, { nmi: true });
    expect(run(level, 'nop')).toBe(R.EXCEPTION_OR_NMI);
    expect(level.c.lo(F.EXIT_INTERRUPTION_INFORMATION) >>> 0).toBe(0x8000_0202);
    expect(level.w[INTERRUPTIBILITY]! & BLOCKED_BY_NMI).toBe(BLOCKED_BY_NMI);
    pend(level, { nmi: true });
    // Blocked in L1, and in L2 for as long as L1's blocking lasts: the entry loads what the field says.
    level.c.set(F.GUEST_INTERRUPTIBILITY, 8);
    expect(run(level, 'nop')).toBe(R.VMCALL);
    level.c.set(F.GUEST_INTERRUPTIBILITY, 0);
    expect(run(level, 'nop')).toBe(R.EXCEPTION_OR_NMI);
  });

  it('that are virtual are unblocked by the IRET of L2', () => {
    const level = createLevel();
    switchOn(level, 'pin.VIRTUAL_NMIS');
    level.c.set(F.GUEST_INTERRUPTIBILITY, 8);
    expect(run(level, 'nop')).toBe(R.VMCALL);
    expect(level.c.lo(F.GUEST_INTERRUPTIBILITY)).toBe(8);
    level.memory.write32(0x3_8100 + 8, 0);
    level.memory.write32(0x3_8100 + 12, 0x0020_9b00);
    level.memory.write32(0x3_8100 + 16, 0xffff);
    level.memory.write32(0x3_8100 + 20, 0x00cf_9300);
    level.c.set(F.GUEST_GDTR_BASE, 0x3_8100);
    level.c.set(F.GUEST_GDTR_LIMIT, 0xff);
    expect(run(level, 'mov rcx, rsp\npush 16\npush rcx\npushfq\npush 8\nlea rax, [rip+3]\npush rax\niretq')).toBe(R.VMCALL);
    expect(level.c.lo(F.GUEST_INTERRUPTIBILITY)).toBe(0);
  });
});

describe('INIT and start-up IPIs', () => {
  it('are blocked in root operation, exit from L2, and start nobody there', () => {
    const level = createLevel();
    pend(level, { init: true });
    expect(level.host('nop')).not.toBe(-1);
    expect(run(level, 'nop')).toBe(R.INIT);
    level.c.set(F.GUEST_ACTIVITY, 3);
    level.c.set(F.GUEST_INTERRUPTIBILITY, 0);
    pend(level, { sipi: 0x9a });
    expect(run(level, 'nop')).toBe(R.SIPI);
    expect([level.c.lo(F.EXIT_QUALIFICATION), level.c.lo(F.GUEST_ACTIVITY)]).toEqual([0x9a, 3]);
  });

  it('an L2 that waits for one, or that has shut down, costs nothing', () => {
    for (const [activity, stop] of [
      [3, 'idle'],
      [2, 'shutdown'],
    ] as const) {
      const level = createLevel();
      level.c.set(F.GUEST_ACTIVITY, activity);
      run(level, 'nop');
      expect(level.w[GUEST_MODE]).not.toBe(0);
      expect(level.w[ACTIVITY]).not.toBe(0);
      expect(level.run()).toBe(stop);
      // Still there to be taken out of it.
      pend(level, { init: true });
      level.run();
      expect(level.c.lo(F.EXIT_REASON)).toBe(R.INIT);
      expect(level.c.lo(F.GUEST_ACTIVITY)).toBe(activity);
    }
  });
});

describe('SMIs', () => {
  it('leave L2 without an exit, and RSM returns to it', () => {
    const level = createLevel();
    level.memory.write(SMM_ENTRY, Uint8Array.of(0x66, 0x41, 0x0f, 0xaa));
    const { entries } = level.vmx.counters;
    pend(level, { smi: true });
    expect(run(level, 'mov ebx, 0x77\nmov ecx, ebx')).toBe(R.VMCALL);
    expect([level.w[2]! >>> 0, level.w[6]! >>> 0, level.vmx.counters.entries - entries]).toEqual([0x77, 0x77, 1]);
    expect(level.vmx.on).toBe(true);
  });
});

describe('the preemption timer', () => {
  it('counts while L2 halts, and its value is saved', () => {
    const level = createLevel();
    switchOn(level, 'pin.ACTIVATE_PREEMPTION_TIMER', 'exit.SAVE_PREEMPTION_TIMER');
    arrangeControl(level.c, 'proc1', 'HLT_EXITING', false);
    level.c.set(F.PREEMPTION_TIMER_VALUE, 0x10_0000);
    expect(run(level, 'nop')).toBe(R.VMCALL);
    const left = level.c.lo(F.PREEMPTION_TIMER_VALUE);
    expect(left > 0 && left < 0x10_0000).toBe(true);
    level.c.set(F.PREEMPTION_TIMER_VALUE, 1000);
    run(level, 'hlt');
    expect([level.w[GUEST_MODE] !== 0, level.w[ACTIVITY]]).toEqual([true, 1]);
    // Each look at the clock of this test takes a microsecond.
    for (let i = 0; i < 200; i++) level.cpu.clock.nowNs();
    level.cpu.requestAttention();
    level.run();
    expect([level.c.lo(F.EXIT_REASON), level.c.lo(F.PREEMPTION_TIMER_VALUE), level.c.lo(F.GUEST_ACTIVITY)]).toEqual([R.PREEMPTION_TIMER, 0, 1]);
  });
});

describe('instructions that a control enables', () => {
  for (const [code, control, cpu] of [
    ['db 0x0f, 0x01, 0xf9', 'ENABLE_RDTSCP', 'host'],
    ['xor eax, eax\ninvpcid rax, [rsp]', 'ENABLE_INVPCID', 'host'],
    ['xor eax, eax\nxor edx, edx\nlea rbx, [0x35000]\nxsaves [rbx]', 'ENABLE_XSAVES', 'host'],
  ] as const)
    it(`#UD without it: ${control}`, () => {
      const level = createLevel(cpu);
      level.c.set(F.EXCEPTION_BITMAP, 1 << 6);
      level.c.set(F.GUEST_CR4, level.c.lo(F.GUEST_CR4) | (1 << 18));
      arrangeControl(level.c, 'proc2', control, false);
      expect(run(level, code)).toBe(R.EXCEPTION_OR_NMI);
      expect(level.c.lo(F.EXIT_INTERRUPTION_INFORMATION) & 0xff).toBe(6);
      arrangeControl(level.c, 'proc2', control, true);
      expect(run(level, code)).toBe(R.VMCALL);
    });

  it('XSAVES and XRSTORS exit by the XSS-exiting bitmap', () => {
    const level = createLevel();
    switchOn(level, 'proc2.ENABLE_XSAVES');
    level.c.set(F.GUEST_CR4, level.c.lo(F.GUEST_CR4) | (1 << 18));
    level.c.set(F.XSS_EXITING_BITMAP, 1 << 11);
    level.w[XSS] = 1 << 11;
    const code = (name: string, mask: number): string => `mov eax, ${mask}\nxor edx, edx\nlea rbx, [0x35000]\n${name} [rbx]`;
    expect(run(level, code('xsaves', 1 << 11))).toBe(R.XSAVES);
    expect(run(level, code('xrstors', 1 << 11))).toBe(R.XRSTORS);
    expect(run(level, code('xsaves', 1 << 12))).toBe(R.VMCALL);
  });
});

describe('MSRs that transitions load and save', () => {
  const read = (msr: number): string => `mov ecx, ${msr}\nrdmsr`;
  const quietMsrs = (level: Level): void => switchOn(level, 'proc1.USE_MSR_BITMAPS');

  it('PAT', () => {
    const level = createLevel();
    quietMsrs(level);
    switchOn(level, 'entry.LOAD_PAT', 'exit.SAVE_PAT', 'exit.LOAD_PAT');
    level.c.set(F.GUEST_IA32_PAT, 0x0607_0406, 0x0607_0406);
    level.c.set(F.HOST_IA32_PAT, 0x0706_0504, 0x0100_0406);
    expect(run(level, `${read(PAT)}\nmov ebx, eax\nmov eax, 0x01010101\nwrmsr`)).toBe(R.VMCALL);
    expect(level.w[6]).toBe(0x0607_0406);
    expect([level.c.lo(F.GUEST_IA32_PAT), level.c.hi(F.GUEST_IA32_PAT)]).toEqual([0x0101_0101, 0x0607_0406]);
    level.host(read(PAT));
    expect(level.w[0]).toBe(0x0706_0504);
  });

  it('EFER', () => {
    const level = createLevel();
    quietMsrs(level);
    switchOn(level, 'entry.LOAD_EFER', 'exit.SAVE_EFER', 'exit.LOAD_EFER');
    level.c.set(F.GUEST_IA32_EFER, 0x500);
    level.c.set(F.HOST_IA32_EFER, 0xd01);
    expect(run(level, `${read(EFER)}\nmov ebx, eax\nor eax, 1\nwrmsr`)).toBe(R.VMCALL);
    expect([level.w[6], level.c.lo(F.GUEST_IA32_EFER)]).toEqual([0x500, 0x501]);
    level.host(read(EFER));
    expect(level.w[0]).toBe(0xd01);
  });

  it('debug controls', () => {
    const level = createLevel();
    quietMsrs(level);
    switchOn(level, 'entry.LOAD_DEBUG_CONTROLS', 'exit.SAVE_DEBUG_CONTROLS');
    level.c.set(F.GUEST_IA32_DEBUGCTL, 1);
    level.c.set(F.GUEST_DR7, 0x401);
    arrangeControl(level.c, 'proc1', 'MOV_DR_EXITING', false);
    expect(run(level, `${read(DEBUGCTL)}\nmov ebx, eax\nmov rsi, dr7\nmov edi, 0x700\nmov dr7, rdi\nxor eax, eax\nwrmsr`)).toBe(R.VMCALL);
    expect([level.w[6], level.w[12], level.c.lo(F.GUEST_DR7), level.c.lo(F.GUEST_IA32_DEBUGCTL)]).toEqual([1, 0x401, 0x700, 0]);
    level.host(`${read(DEBUGCTL)}\nmov rsi, dr7`);
    expect([level.w[0], level.w[12]]).toEqual([0, 0x400]);
  });

  it('SPEC_CTRL', () => {
    const level = createLevel('SapphireRapids,vmx=on');
    quietMsrs(level);
    switchOn(level, 'entry.LOAD_SPEC_CTRL', 'exit2.LOAD_SPEC_CTRL');
    level.c.set(F.GUEST_IA32_SPEC_CTRL, 1);
    level.c.set(F.HOST_IA32_SPEC_CTRL, 4);
    expect(run(level, `${read(SPEC_CTRL)}\nmov ebx, eax\nmov eax, 5\nwrmsr`)).toBe(R.VMCALL);
    expect([level.w[6], level.c.lo(F.GUEST_IA32_SPEC_CTRL)]).toEqual([1, 5]);
    level.host(read(SPEC_CTRL));
    expect(level.w[0]).toBe(4);
  });
});

describe('VMX aborts', () => {
  it('leave their cause in the VMCS and shut the processor down', () => {
    const level = createLevel();
    const list = 0x1_4000;
    level.memory.write32(list, 0xc000_0100);
    level.c.set(F.EXIT_MSR_LOAD_ADDRESS, list);
    level.c.set(F.EXIT_MSR_LOAD_COUNT, 1);
    run(level, 'nop');
    expect([level.c.header(VmcsHeader.ABORT), level.run()]).toEqual([4, 'shutdown']);
  });
});

describe('machine checks', () => {
  const MC = 18;
  const CR4_MCE = 1 << 6;
  const CHECK: MachineCheck = { bank: 1, status: 5n << 61n, globalStatus: 1n, address: 0n, misc: 0n };

  function arranged(): Level {
    const level = createLevel();
    const { c } = level;
    for (const field of [F.GUEST_CR4, F.HOST_CR4]) c.set(field, c.lo(field) | CR4_MCE);
    c.set(F.EXCEPTION_BITMAP, 1 << MC);
    return level;
  }

  it('during VM entry make it fail with reason 41, in the state of L1', () => {
    const level = arranged();
    injectMachineCheck(level.cpu, { ...CHECK, duringEntry: true });
    run(level, 'mov eax, 7');
    expect([level.c.lo(F.EXIT_REASON) >>> 0, level.c.lo(F.EXIT_QUALIFICATION)]).toEqual([0x8000_0000 + R.ENTRY_MACHINE_CHECK, 0]);
    expect([level.w[GUEST_MODE], Number(level.cpu.get64('mcgStatus'))]).toEqual([0, 5]);
    expect(run(level, 'mov eax, 7'), 'the next entry is as ever').toBe(R.VMCALL);
    expect(level.w[0]).toBe(7);
  });

  it('in L2 exit as an exception', () => {
    const level = arranged();
    run(level, 'hlt');
    expect(level.w[GUEST_MODE], 'L2 waits').not.toBe(0);
    expect(injectMachineCheck(level.cpu, CHECK)).toBe('signalled');
    level.run();
    expect([level.c.lo(F.EXIT_REASON), level.c.lo(F.EXIT_INTERRUPTION_INFORMATION) >>> 0]).toEqual([R.EXCEPTION_OR_NMI, 0x8000_0300 + MC]);
  });
});
