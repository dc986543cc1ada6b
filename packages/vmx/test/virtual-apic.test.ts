import { createNullInterruptSource, type InterruptSource } from '@nestvm/cpu';
import { describe, expect, it } from 'vitest';
import { F } from '../src/fields/layout.js';
import { ExitReason as R } from '../src/transitions/reasons.js';
import { arrangeGates, HANDLER, run, switchOn } from './guest-code.js';
import { createLevel, type Level, Place } from './level.js';

const VAPIC = 0x4000;
const ACCESS_PAGE = 0x2_6000;
const DESCRIPTOR = 0x2_7000;
const PID_TABLE = 0x2_8000;
const ICR_LOW = 0x300;
const ICR_HIGH = 0x310;
const TPR = 0x80;
const PPR = 0xa0;
const IRR = 0x200;
const ISR = 0x100;
const APIC_BASE = 0xfee0_0000;
const NOTIFICATION = 0xf2;

/** Gates of L2's IDT to a handler that ends in VMCALL. */
function arrangeHandlers(level: Level, ...vectors: readonly number[]): void {
  arrangeGates(level, vectors);
  level.c.set(F.GUEST_IDTR_LIMIT, 0xfff);
}

/** A local APIC that shows its mode and notes the MSRs that are written. */
function connectApic(level: Level, x2: boolean): [number, number, number][] {
  const written: [number, number, number][] = [];
  const source: InterruptSource = {
    ...createNullInterruptSource(),
    readMsr(index) {
      this.msrLo = APIC_BASE | 0x800 | (x2 ? 0x400 : 0);
      this.msrHi = 0;
      return index === 0x1b;
    },
    writeMsr(index) {
      written.push([index, this.msrLo >>> 0, this.msrHi >>> 0]);
      return true;
    },
  };
  level.cpu.connectInterrupts(source);
  return written;
}

/** An L2 whose APIC is virtual, with a PID-pointer table of four entries: the first two are valid, and lead to descriptors one behind the other. */
function ipiLevel(): Level {
  const level = createLevel('SapphireRapids,vmx=on');
  switchOn(level, 'proc1.USE_TPR_SHADOW', 'proc1.USE_MSR_BITMAPS', 'proc3.IPI_VIRTUALIZATION');
  level.c.set(F.PID_POINTER_TABLE, PID_TABLE);
  level.c.set(F.LAST_PID_POINTER_INDEX, 3);
  for (const i of [0, 1]) {
    level.memory.write32(PID_TABLE + 8 * i, (DESCRIPTOR + 64 * i) | 1);
    level.memory.write32(DESCRIPTOR + 64 * i + 32, NOTIFICATION << 16);
    level.memory.write32(DESCRIPTOR + 64 * i + 36, 0x500 + i);
  }
  return level;
}

const wrmsr = (index: number, lo: number, hi: number): string => `mov ecx, ${index}\nmov eax, ${lo >>> 0}\nmov edx, ${hi}\nwrmsr`;
const posted = ({ memory }: Level, i: number): number[] => [memory.read32(DESCRIPTOR + 64 * i + 8), memory.read8(DESCRIPTOR + 64 * i + 32)];

describe('IPI virtualization', () => {
  it('posts what is written to the ICR as an MSR, and notifies once', () => {
    const level = ipiLevel();
    switchOn(level, 'proc2.VIRTUALIZE_X2APIC_MODE');
    const written = connectApic(level, true);
    expect(run(level, `${wrmsr(0x830, 0x45, 1)}\n${wrmsr(0x830, 0x46, 1)}`)).toBe(R.VMCALL);
    expect(posted(level, 1)).toEqual([0x60, 1]);
    expect(posted(level, 0)).toEqual([0, 0]);
    expect(written).toEqual([[0x830, NOTIFICATION, 0x501]]);
    expect([level.memory.read32(VAPIC + ICR_LOW), level.memory.read32(VAPIC + ICR_LOW + 4)]).toEqual([0x46, 1]);
  });

  it('posts without a notification while that is suppressed', () => {
    const level = ipiLevel();
    switchOn(level, 'proc2.VIRTUALIZE_X2APIC_MODE');
    const written = connectApic(level, true);
    level.memory.write8(DESCRIPTOR + 32, 2);
    expect(run(level, wrmsr(0x830, 0x45, 0))).toBe(R.VMCALL);
    expect(posted(level, 0)).toEqual([0x20, 2]);
    expect(written).toEqual([]);
  });

  it('exits behind the WRMSR for what it cannot send', () => {
    for (const [lo, hi] of [
      [0x45, 4],
      [0x45, 2],
      [0x0f, 0],
      [0x4_0045, 0],
      [0xc_0045, 0],
      [0x845, 0],
      [0x8045, 0],
      [0x445, 0],
    ] as const) {
      const level = ipiLevel();
      switchOn(level, 'proc2.VIRTUALIZE_X2APIC_MODE');
      connectApic(level, true);
      expect(run(level, wrmsr(0x830, lo, hi)), `${lo.toString(16)} to ${hi}`).toBe(R.APIC_WRITE);
      expect([level.c.lo(F.EXIT_QUALIFICATION), level.c.lo(F.GUEST_RIP)]).toEqual([ICR_LOW, Place.L2 + 17]);
      expect(posted(level, 0)).toEqual([0, 0]);
    }
  });

  it('refuses reserved bits, reserved entries of the table and addresses that are too wide', () => {
    const level = ipiLevel();
    switchOn(level, 'proc2.VIRTUALIZE_X2APIC_MODE');
    connectApic(level, true);
    level.c.set(F.EXCEPTION_BITMAP, 1 << 13);
    expect(run(level, wrmsr(0x830, 0x2045, 0))).toBe(R.EXCEPTION_OR_NMI);
    level.memory.write32(PID_TABLE, DESCRIPTOR | 3);
    expect(run(level, wrmsr(0x830, 0x45, 0))).toBe(R.APIC_WRITE);
    level.memory.write32(PID_TABLE, DESCRIPTOR | 1);
    level.memory.write32(PID_TABLE + 4, 0x8000_0000);
    expect(run(level, wrmsr(0x830, 0x45, 0))).toBe(R.APIC_WRITE);
  });

  it('works for the memory-mapped ICR, and sends in xAPIC mode', () => {
    const level = ipiLevel();
    switchOn(level, 'proc2.VIRTUALIZE_APIC_ACCESSES', 'proc2.APIC_REGISTER_VIRTUALIZATION');
    level.c.set(F.APIC_ACCESS_ADDRESS, ACCESS_PAGE);
    connectApic(level, false);
    const sent: number[][] = [];
    const { memory } = level;
    const write32 = (address: number, value: number): void =>
      void (address >= APIC_BASE ? sent.push([address, value]) : memory.write32(address, value));
    Object.defineProperty(level.cpu, 'memory', { value: Object.create(memory, { write32: { value: write32 } }) });
    const send = (lo: number): string =>
      `mov eax, 0x1000000\nmov [${ACCESS_PAGE + ICR_HIGH}], eax\nmov eax, ${lo}\nmov [${ACCESS_PAGE + ICR_LOW}], eax`;
    expect(run(level, send(0x4045))).toBe(R.VMCALL);
    expect(posted(level, 1)).toEqual([0x20, 1]);
    expect(sent).toEqual([
      [APIC_BASE + ICR_HIGH, 0x0500_0000],
      [APIC_BASE + ICR_LOW, NOTIFICATION],
    ]);
    expect(run(level, send(0x845))).toBe(R.APIC_WRITE);
    expect(level.c.lo(F.EXIT_QUALIFICATION)).toBe(ICR_LOW);
  });
});

describe('virtual interrupts', () => {
  function interrupts(): Level {
    const level = createLevel();
    switchOn(level, 'pin.EXTERNAL_INTERRUPT_EXITING', 'proc2.VIRTUAL_INTERRUPT_DELIVERY', 'proc2.VIRTUALIZE_X2APIC_MODE', 'proc1.USE_MSR_BITMAPS');
    arrangeHandlers(level, 0x41, 0x52);
    return level;
  }

  it('the processor priority follows the task priority and the vector in service', () => {
    const level = interrupts();
    const { c, memory } = level;
    const ppr = (tpr: number, serving: number): number => {
      c.set(F.GUEST_INTERRUPT_STATUS, serving << 8);
      memory.write32(VAPIC + PPR, 0);
      expect(run(level, wrmsr(0x808, tpr, 0))).toBe(R.VMCALL);
      return memory.read32(VAPIC + PPR);
    };
    expect(ppr(0x35, 0)).toBe(0x35);
    expect(ppr(0x35, 0x41)).toBe(0x40);
    expect(ppr(0x45, 0x41)).toBe(0x45);
    expect(ppr(0x45, 0x52)).toBe(0x50);
    // VM entry does it too.
    memory.write32(VAPIC + TPR, 0x77);
    c.set(F.GUEST_INTERRUPT_STATUS, 0);
    expect(run(level, 'nop')).toBe(R.VMCALL);
    expect(memory.read32(VAPIC + PPR)).toBe(0x77);
  });

  it('a self-IPI is delivered when interrupts may be taken and its class is above the priority', () => {
    const level = interrupts();
    const { c, memory } = level;
    c.set(F.GUEST_INTERRUPT_STATUS, 0);
    expect(run(level, wrmsr(0x83f, 0x41, 0))).toBe(R.VMCALL);
    expect([c.lo(F.GUEST_INTERRUPT_STATUS), memory.read32(VAPIC + IRR + 0x20)]).toEqual([0x41, 2]);
    expect(run(level, 'nop', 0x202)).toBe(R.VMCALL);
    expect([c.lo(F.GUEST_RIP), c.lo(F.GUEST_INTERRUPT_STATUS)]).toEqual([HANDLER, 0x4100]);
    expect([memory.read32(VAPIC + IRR + 0x20), memory.read32(VAPIC + ISR + 0x20), memory.read32(VAPIC + PPR)]).toEqual([0, 2, 0x40]);
    // One of the same class waits, one of a higher class does not.
    expect(run(level, wrmsr(0x83f, 0x4f, 0), 0x202)).toBe(R.VMCALL);
    expect(c.lo(F.GUEST_INTERRUPT_STATUS)).toBe(0x414f);
    expect(run(level, wrmsr(0x83f, 0x52, 0), 0x202)).toBe(R.VMCALL);
    expect([c.lo(F.GUEST_RIP), c.lo(F.GUEST_INTERRUPT_STATUS)]).toEqual([HANDLER, 0x524f]);
    // A vector that no APIC takes is the hypervisor's.
    expect(run(level, wrmsr(0x83f, 0x0f, 0))).toBe(R.APIC_WRITE);
    expect(c.lo(F.EXIT_QUALIFICATION)).toBe(0x3f0);
  });

  it('a self-IPI through the memory-mapped ICR is delivered too', () => {
    const level = createLevel();
    switchOn(level, 'pin.EXTERNAL_INTERRUPT_EXITING', 'proc2.VIRTUAL_INTERRUPT_DELIVERY', 'proc2.VIRTUALIZE_APIC_ACCESSES');
    level.c.set(F.APIC_ACCESS_ADDRESS, ACCESS_PAGE);
    level.c.set(F.GUEST_INTERRUPT_STATUS, 0);
    arrangeHandlers(level, 0x41);
    expect(run(level, `mov eax, 0x40041\nmov [${ACCESS_PAGE + ICR_LOW}], eax\nmov ebx, [${ACCESS_PAGE + ICR_LOW}]`, 0x202)).toBe(R.VMCALL);
    expect([level.c.lo(F.GUEST_RIP), level.c.lo(F.GUEST_INTERRUPT_STATUS)]).toEqual([HANDLER, 0x4100]);
  });
});

describe('APIC-access exits', () => {
  it('say that the access was for the delivery of an event', () => {
    const level = createLevel();
    switchOn(level, 'proc1.USE_TPR_SHADOW', 'proc2.VIRTUALIZE_APIC_ACCESSES');
    arrangeHandlers(level, 0x41);
    level.c.set(F.APIC_ACCESS_ADDRESS, ACCESS_PAGE);
    // The frame goes to the page: the first push is at its end.
    expect(run(level, `mov rsp, ${ACCESS_PAGE + 0x90}\nint 0x41`)).toBe(R.APIC_ACCESS);
    expect(level.c.lo(F.EXIT_QUALIFICATION)).toBe(0x3088);
    expect(level.c.lo(F.IDT_VECTORING_INFORMATION) >>> 0).toBe(0x8000_0441);
    expect(level.c.lo(F.EXIT_INSTRUCTION_LENGTH)).toBe(2);
  });
});
