import { createNullInterruptSource } from '@nestvm/cpu';
import { describe, expect, it } from 'vitest';
import { arrangeControl } from '../src/checks/arrange.js';
import { F } from '../src/fields/layout.js';
import { ExitReason as R } from '../src/transitions/reasons.js';
import { arrangeGates, HANDLER } from './guest-code.js';
import { createLevel, type Level, Place } from './level.js';

const VAPIC = 0x4000;
const ACCESS_PAGE = 0x2_6000;
const DESCRIPTOR = 0x2_7000;
const NOTIFICATION = 0xf2;

/** A gate of L2's IDT to a handler that ends in VMCALL. */
function arrangeGate(level: Level, vector: number): void {
  arrangeGates(level, [vector]);
  level.c.set(F.GUEST_IDTR_LIMIT, 0xfff);
  level.c.set(F.GUEST_RFLAGS, 0x202);
}

function accessPage(level: Level): void {
  arrangeControl(level.c, 'proc1', 'USE_TPR_SHADOW', true);
  arrangeControl(level.c, 'proc2', 'VIRTUALIZE_APIC_ACCESSES', true);
  level.c.set(F.APIC_ACCESS_ADDRESS, ACCESS_PAGE);
}

function run(level: Level, code: string): number {
  level.c.set(F.GUEST_RIP, Place.L2);
  level.guest((a) => a.text(`${code}\nvmcall`));
  return level.enter();
}

describe('accesses to the APIC-access page', () => {
  it('exit for fetches, and for what is wider than a register', () => {
    const level = createLevel();
    accessPage(level);
    expect(run(level, `mov eax, ${ACCESS_PAGE}\njmp rax`)).toBe(R.APIC_ACCESS);
    expect(level.c.lo(F.EXIT_QUALIFICATION)).toBe(0x2000);
    expect(run(level, `mov rax, [${ACCESS_PAGE + 0x80}]`)).toBe(R.APIC_ACCESS);
    expect(level.c.lo(F.EXIT_QUALIFICATION)).toBe(0x80);
    expect(run(level, `mov [${ACCESS_PAGE + 0x81}], eax`)).toBe(R.APIC_ACCESS);
    expect(level.c.lo(F.EXIT_QUALIFICATION)).toBe(0x1081);
  });

  it('write virtual registers, and then exit with their offset', () => {
    const level = createLevel();
    accessPage(level);
    arrangeControl(level.c, 'proc2', 'APIC_REGISTER_VIRTUALIZATION', true);
    level.memory.write32(VAPIC + 0x30, 0x50014);
    expect(run(level, `mov ebx, [${ACCESS_PAGE + 0x30}]\nmov eax, 0x12345678\nmov [${ACCESS_PAGE + 0x310}], eax`)).toBe(R.VMCALL);
    expect(level.w[6]).toBe(0x50014);
    expect(level.memory.read32(VAPIC + 0x310)).toBe(0x12000000);
    expect(run(level, `mov eax, 0xff\nmov [${ACCESS_PAGE + 0xf0}], eax`)).toBe(R.APIC_WRITE);
    expect(level.c.lo(F.EXIT_QUALIFICATION)).toBe(0xf0);
    expect(level.memory.read32(VAPIC + 0xf0)).toBe(0xff);
  });

  it('exit for LVT CMCI, which is never virtual', () => {
    const level = createLevel();
    accessPage(level);
    arrangeControl(level.c, 'proc2', 'APIC_REGISTER_VIRTUALIZATION', true);
    expect(run(level, `mov eax, [${ACCESS_PAGE + 0x2f0}]`)).toBe(R.APIC_ACCESS);
    expect(level.c.lo(F.EXIT_QUALIFICATION)).toBe(0x2f0);
    expect(run(level, `mov [${ACCESS_PAGE + 0x2f0}], eax`)).toBe(R.APIC_ACCESS);
    expect(level.c.lo(F.EXIT_QUALIFICATION)).toBe(0x12f0);
  });
});

describe('posted interrupts', () => {
  it('move from the descriptor to the guest without an exit, at their notification; other vectors exit', () => {
    const level = createLevel();
    arrangeGate(level, 0x41);
    const { c, cpu, memory } = level;
    arrangeControl(c, 'proc2', 'VIRTUAL_INTERRUPT_DELIVERY', true);
    arrangeControl(c, 'pin', 'PROCESS_POSTED_INTERRUPTS', true);
    c.set(F.POSTED_INTERRUPT_VECTOR, NOTIFICATION);
    c.set(F.POSTED_INTERRUPT_DESCRIPTOR, DESCRIPTOR);
    memory.write32(DESCRIPTOR + 8, 1 << 1);
    memory.write8(DESCRIPTOR + 32, 1);
    let pending = NOTIFICATION;
    cpu.connectInterrupts({
      ...createNullInterruptSource(),
      intr: () => pending >= 0,
      acknowledge: () => {
        const vector = pending;
        pending = -1;
        return vector;
      },
    });
    expect(run(level, 'nop')).toBe(R.VMCALL);
    expect(c.lo(F.GUEST_RIP)).toBe(HANDLER);
    expect(c.lo(F.GUEST_INTERRUPT_STATUS)).toBe(0x4100);
    expect([memory.read32(DESCRIPTOR + 8), memory.read8(DESCRIPTOR + 32)]).toEqual([0, 0]);
    pending = 0x30;
    expect(run(level, 'nop')).toBe(R.EXTERNAL_INTERRUPT);
    expect(c.lo(F.EXIT_INTERRUPTION_INFORMATION)).toBe(0x8000_0030 | 0);
  });
});
