import { vcpuState } from '@nestvm/isa';
import { describe, expect, it } from 'vitest';
import { arrangeControl } from '../src/checks/arrange.js';
import { F } from '../src/fields/layout.js';
import { ExitReason as R } from '../src/transitions/reasons.js';
import { arrangeGates, GDT, HANDLER, IDT, run, switchOn } from './guest-code.js';
import { createLevel, type Level, Place } from './level.js';

const RECENT = 'SapphireRapids,vmx=on';
const SPEC_CTRL_WORD = vcpuState.offset.specCtrl / 4;
const BY_STI = 1;
const BY_MOV_SS = 2;
const IF = 0x200;
const TF = 0x100;

const ebx = (level: Level): number => level.w[6]! >>> 0;

/** Flat code at 8 and data at 10h, and gates of all exceptions to a handler that ends in VMCALL. */
function arrangeTables(level: Level): void {
  const { memory, c } = level;
  arrangeGates(level, Array(32).keys());
  memory.write32(GDT + 16, 0xffff);
  memory.write32(GDT + 20, 0x00cf_9300);
  c.set(F.GUEST_GDTR_LIMIT, 0xff);
}

it('the first PAUSE after an entry begins a loop for PAUSE-loop exiting', () => {
  const level = createLevel();
  switchOn(level, 'proc2.PAUSE_LOOP_EXITING');
  level.c.set(F.PLE_GAP, -1);
  level.c.set(F.PLE_WINDOW, 1);
  expect(run(level, 'pause\nvmcall\npause\npause')).toBe(R.VMCALL);
  level.c.set(F.GUEST_RIP, Place.L2 + 5);
  level.host('vmresume');
  expect([level.c.lo(F.EXIT_REASON), level.c.lo(F.GUEST_RIP)]).toEqual([R.PAUSE, Place.L2 + 7]);
});

describe('virtual-processor identifiers', () => {
  it('keep what L2 has translated across exits until INVVPID; without them every transition forgets it', () => {
    const level = createLevel();
    const { c, memory } = level;
    const page = 0x20_0000;
    memory.write32(page, 0x1111);
    memory.write32(Place.DATA + 0x10, 0x2222);
    // The second 2 MiB of L2 by a table of 4-KiB pages, whose first entry changes behind L2's back.
    const table = 0x3_9000;
    memory.write32(Place.DIRECTORY + 8, table | 7);
    const read = (): number => {
      expect(run(level, `mov ebx, [${page + 0x10}]`)).toBe(R.VMCALL);
      return ebx(level);
    };
    const map = (to: number): void => memory.write32(table, to | 7);
    memory.write32(page + 0x10, 0x1111);
    map(page);
    expect(read()).toBe(0x1111);
    map(Place.DATA);
    expect(read()).toBe(0x2222);
    switchOn(level, 'proc2.ENABLE_VPID');
    c.set(F.VPID, 7);
    expect(read()).toBe(0x2222);
    map(page);
    expect(read()).toBe(0x2222);
    // Another VPID knows nothing of it.
    c.set(F.VPID, 8);
    expect(read()).toBe(0x1111);
    c.set(F.VPID, 7);
    expect(read()).toBe(0x2222);
    memory.write32(Place.DATA + 0x40, 7);
    memory.write32(Place.DATA + 0x44, 0);
    expect(level.host(`mov eax, 1\ninvvpid rax, [${Place.DATA + 0x40}]`) & 0x41).toBe(0);
    expect(read()).toBe(0x1111);
  });
});

describe('task switches', () => {
  const TSS = 0x28;
  /** L2 in 32-bit protected mode without paging would need an unrestricted guest: with paging, and TSS and task-gate descriptors in its GDT. */
  function protectedGuest(): Level {
    const level = createLevel();
    const { c, memory } = level;
    arrangeControl(c, 'entry', 'IA32E_MODE_GUEST', false);
    memory.write32(GDT + 8, 0xffff);
    memory.write32(GDT + 12, 0x00cf_9b00);
    memory.write32(GDT + 16, 0xffff);
    memory.write32(GDT + 20, 0x00cf_9300);
    // A task gate at 20h, an available TSS at 28h.
    memory.write32(GDT + 0x20, TSS << 16);
    memory.write32(GDT + 0x24, 0x8500);
    memory.write32(GDT + TSS, 0x9000_0067);
    memory.write32(GDT + TSS + 4, 0x0000_8903);
    // A task gate for interrupt 32.
    memory.write32(IDT + 8 * 32, TSS << 16);
    memory.write32(IDT + 8 * 32 + 4, 0x8500);
    for (const [word, value] of [
      [F.GUEST_GDTR_BASE, GDT],
      [F.GUEST_GDTR_LIMIT, 0xff],
      [F.GUEST_IDTR_BASE, IDT],
      [F.GUEST_IDTR_LIMIT, 0x1ff],
      [F.GUEST_CS_SELECTOR, 8],
      [F.GUEST_TR_BASE, 0x3_a000],
      [F.GUEST_TR_LIMIT, 0x67],
    ] as const)
      c.set(word, value);
    // PAE tables: the four pointers of the checks' world, to the page directory that all worlds share.
    for (let i = 0; i < 4; i++) memory.write32(c.lo(F.GUEST_CR3) + 8 * i, i === 0 ? Place.DIRECTORY | 1 : 0);
    memory.write32(0x3_a000, TSS);
    return level;
  }

  function bytes(level: Level, ...code: readonly number[]): number {
    level.c.set(F.GUEST_RIP, Place.L2);
    level.c.set(F.GUEST_RSP, Place.L2_STACK);
    level.memory.write(Place.L2, Uint8Array.of(...code, 0x0f, 0x01, 0xc1));
    const reason = level.enter();
    // L1 has gone back to its own tables with the exit.
    return reason;
  }
  const exit = ({ c }: Level): number[] => [
    c.lo(F.EXIT_QUALIFICATION) >>> 0,
    c.lo(F.EXIT_INSTRUCTION_LENGTH),
    c.lo(F.IDT_VECTORING_INFORMATION) >>> 0,
  ];

  it('exit, whatever makes them: CALL, JMP, IRET, and gates of the IDT', () => {
    const far = [TSS, 0];
    const call = protectedGuest();
    expect(bytes(call, 0x9a, 0, 0, 0, 0, ...far)).toBe(R.TASK_SWITCH);
    expect(exit(call)).toEqual([TSS, 7, 0]);
    const jump = protectedGuest();
    expect(bytes(jump, 0xea, 0, 0, 0, 0, 0x20, 0)).toBe(R.TASK_SWITCH);
    expect(exit(jump)).toEqual([(0x8000_0000 | TSS) >>> 0, 7, 0]);
    const gate = protectedGuest();
    expect(bytes(gate, 0xcd, 32)).toBe(R.TASK_SWITCH);
    expect(exit(gate)).toEqual([(0xc000_0000 | TSS) >>> 0, 2, 0x8000_0420]);
    // Nothing of the switch has happened.
    expect([gate.c.lo(F.GUEST_RIP), gate.c.lo(F.GUEST_CS_SELECTOR), gate.memory.read32(GDT + TSS + 4) & 0x200]).toEqual([Place.L2, 8, 0]);
    const ret = protectedGuest();
    ret.memory.write32(GDT + TSS + 4, 0x0000_8b03);
    ret.c.set(F.GUEST_RFLAGS, 0x4002);
    expect(bytes(ret, 0xcf)).toBe(R.TASK_SWITCH);
    expect(exit(ret)).toEqual([(0x4000_0000 | TSS) >>> 0, 1, 0]);
  });
});

describe('the interrupt shadow of L2', () => {
  it('of STI is told by an exit of the instruction right behind it, and of no later one', () => {
    const level = createLevel();
    const shadow = (code: string, flags = 2): number => {
      level.c.set(F.GUEST_INTERRUPTIBILITY, 0);
      run(level, code, flags);
      return level.c.lo(F.GUEST_INTERRUPTIBILITY);
    };
    expect(shadow('sti\ncpuid')).toBe(BY_STI);
    expect(shadow('nop\nnop\nsti')).toBe(BY_STI);
    expect(shadow('sti\nnop\ncpuid')).toBe(0);
    expect(shadow('sti\nsti\nnop\nsti\ncpuid')).toBe(0);
    // It begins only when IF was clear.
    expect(shadow('sti\ncpuid', IF | 2)).toBe(0);
    expect(shadow('cli\nsti\ncpuid', IF | 2)).toBe(BY_STI);
  });

  it('of MOV SS and POP SS likewise', () => {
    const level = createLevel();
    arrangeTables(level);
    const shadow = (code: string): number => {
      level.c.set(F.GUEST_INTERRUPTIBILITY, 0);
      run(level, code);
      return level.c.lo(F.GUEST_INTERRUPTIBILITY);
    };
    expect(shadow('mov eax, 16\nmov ss, eax\ncpuid')).toBe(BY_MOV_SS);
    expect(shadow('mov eax, 16\nmov ss, eax\nnop\ncpuid')).toBe(0);
  });

  it('goes with an entry: the first instruction runs under it, the next does not', () => {
    const level = createLevel();
    level.c.set(F.GUEST_INTERRUPTIBILITY, BY_STI);
    run(level, 'nop', IF | 2);
    expect(level.c.lo(F.GUEST_INTERRUPTIBILITY)).toBe(0);
    level.c.set(F.GUEST_INTERRUPTIBILITY, BY_STI);
    run(level, '', IF | 2);
    expect(level.c.lo(F.GUEST_INTERRUPTIBILITY)).toBe(BY_STI);
    // L1's own shadow is not L2's.
    level.c.set(F.GUEST_INTERRUPTIBILITY, 0);
    level.c.set(F.GUEST_RIP, Place.L2);
    level.host('sti\nvmresume');
    expect(level.c.lo(F.GUEST_INTERRUPTIBILITY)).toBe(0);
  });
});

describe('pending debug exceptions', () => {
  it('wait behind MOV SS and are told by the exit', () => {
    const level = createLevel();
    arrangeTables(level);
    expect(run(level, 'mov eax, 16\nmov ss, eax\ncpuid', TF | 2)).toBe(R.VMCALL);
    // The trap of the first MOV came before; its handler exited.
    expect(level.c.lo(F.GUEST_RIP)).toBe(HANDLER);
    level.w[0] = 16;
    expect(run(level, 'mov ss, eax\ncpuid', TF | 2)).toBe(R.CPUID);
    expect([level.c.lo(F.GUEST_PENDING_DEBUG), level.c.lo(F.GUEST_INTERRUPTIBILITY)]).toEqual([0x4000, BY_MOV_SS]);
  });

  it('that an entry brings are delivered, or exit, before the first instruction', () => {
    const level = createLevel();
    arrangeTables(level);
    level.c.set(F.GUEST_PENDING_DEBUG, 0x4000);
    level.c.set(F.EXCEPTION_BITMAP, 0);
    expect(run(level, 'mov ebx, 5', TF | 2)).toBe(R.VMCALL);
    expect(level.c.lo(F.GUEST_RIP)).toBe(HANDLER);
    level.c.set(F.GUEST_PENDING_DEBUG, 0x4000);
    level.c.set(F.EXCEPTION_BITMAP, 2);
    expect(run(level, 'mov ebx, 5', TF | 2)).toBe(R.EXCEPTION_OR_NMI);
    expect([level.c.lo(F.EXIT_QUALIFICATION), level.c.lo(F.GUEST_RIP), level.c.lo(F.GUEST_PENDING_DEBUG)]).toEqual([0x4000, Place.L2, 0]);
  });
});

describe('IA32_SPEC_CTRL that is virtual', () => {
  const read = 'mov ecx, 0x48\nrdmsr\nmov ebx, eax';
  const write = (value: number): string => `mov ecx, 0x48\nxor edx, edx\nmov eax, ${value}\nwrmsr`;

  it('shows the shadow, and keeps the bits of the mask', () => {
    const level = createLevel(RECENT);
    switchOn(level, 'proc3.VIRTUALIZE_SPEC_CTRL', 'proc1.USE_MSR_BITMAPS');
    level.c.set(F.SPEC_CTRL_MASK, 1);
    level.c.set(F.SPEC_CTRL_SHADOW, 4);
    level.w[SPEC_CTRL_WORD] = 1;
    expect(run(level, read)).toBe(R.VMCALL);
    expect(ebx(level)).toBe(4);
    expect(run(level, write(4))).toBe(R.VMCALL);
    expect([level.w[SPEC_CTRL_WORD], level.c.lo(F.SPEC_CTRL_SHADOW)]).toEqual([5, 4]);
    expect(run(level, `${write(0)}\n${read}`)).toBe(R.VMCALL);
    expect([level.w[SPEC_CTRL_WORD], level.c.lo(F.SPEC_CTRL_SHADOW), ebx(level)]).toEqual([1, 0, 0]);
    level.c.set(F.EXCEPTION_BITMAP, 1 << 13);
    expect(run(level, write(0x4000_0000))).toBe(R.EXCEPTION_OR_NMI);
    expect([level.w[SPEC_CTRL_WORD], level.c.lo(F.SPEC_CTRL_SHADOW)]).toEqual([1, 0]);
  });
});
