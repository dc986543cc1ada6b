import { CetControl, Cr0, Cr4, Mode } from '@nestvm/isa';
import { describe, expect, it } from 'vitest';
import { arrangeControl } from '../src/checks/arrange.js';
import { F } from '../src/fields/layout.js';
import { ExitReason as R } from '../src/transitions/reasons.js';
import { arrangeGates, HANDLER, switchOn } from './guest-code.js';
import { createLevel, type Level, Place } from './level.js';

const MODEL = 'SapphireRapids,vmx=on,cet-ss=on,cet-ibt=on';
/** The second 2 MiB are pages of supervisor shadow stacks: dirty, not writable, not for users. */
const SHADOW = 0x20_0000;
const SHADOW_ENTRY = SHADOW | 0xe1;
const SSP = SHADOW + 0x3800;
const EPT = { ROOT: 0x1_0000, PDPT: 0x1_5000, PD: 0x1_6000, PT: 0x1_7000 } as const;
const HIGH_SHADOW_STACK = 1 << 28;
const VMCALL = [0x0f, 0x01, 0xc1];
/** call f; vmcall; f: ret */
const CALL_AND_RET = [0xe8, 3, 0, 0, 0, ...VMCALL, 0xc3];

/** An L2 with shadow stacks on, by guest fields. */
function arrange(control: number = CetControl.SH_STK_EN): Level {
  const level = createLevel(MODEL);
  const { c, memory } = level;
  memory.write32(Place.DIRECTORY + 8, SHADOW_ENTRY);
  switchOn(level, 'entry.LOAD_CET');
  c.set(F.GUEST_CR0, c.lo(F.GUEST_CR0) | Cr0.WP);
  c.set(F.GUEST_CR4, c.lo(F.GUEST_CR4) | Cr4.CET);
  c.set(F.GUEST_IA32_S_CET, control);
  c.set(F.GUEST_SSP, SSP);
  c.set(F.GUEST_SSP_TABLE, 0x5000);
  return level;
}

function run(level: Level, code: readonly number[]): number {
  level.cpu.mmu.flushAll();
  level.vmx.mmu.invalidateAllRoots();
  level.c.set(F.GUEST_RIP, Place.L2);
  level.c.set(F.GUEST_RSP, Place.L2_STACK);
  level.memory.write(Place.L2, Uint8Array.from(code));
  return level.enter();
}

/** EPT one to one: a large page, and 4-KiB pages for the shadow stacks with these rights and upper bits. */
function arrangeEpt({ memory, c }: Level, rights: number, high: number, control: boolean): void {
  memory.write32(EPT.ROOT, EPT.PDPT | 7);
  memory.write32(EPT.PDPT, EPT.PD | 7);
  memory.write32(EPT.PD, 0xb7);
  memory.write32(EPT.PD + 8, EPT.PT | 7);
  for (let page = 0; page < 512; page++) {
    memory.write32(EPT.PT + 8 * page, (SHADOW + 4096 * page) | 0x30 | rights);
    memory.write32(EPT.PT + 8 * page + 4, high);
  }
  arrangeControl(c, 'proc2', 'ENABLE_EPT', true);
  c.set(F.EPT_POINTER, EPT.ROOT | 0x1e | (control ? 0x80 : 0));
}

describe('CET state in VMX', () => {
  it('“load CET state” gives L2 its shadow stack, and the exit saves where it was', () => {
    const level = arrange();
    expect(run(level, CALL_AND_RET)).toBe(R.VMCALL);
    expect([level.c.lo(F.GUEST_SSP), level.c.lo(F.GUEST_IA32_S_CET), level.c.lo(F.GUEST_SSP_TABLE)]).toEqual([SSP, CetControl.SH_STK_EN, 0x5000]);
    expect(level.memory.read32(SSP - 8)).toBe(Place.L2 + 5);
    expect(run(level, [0xe8, 0, 0, 0, 0, 0xe8, 1, 0, 0, 0, 0x90, ...VMCALL])).toBe(R.VMCALL);
    expect(level.c.lo(F.GUEST_SSP)).toBe(SSP - 8);
  });

  it('without the control the registers stay the host’s, and still are saved', () => {
    const level = arrange();
    arrangeControl(level.c, 'entry', 'LOAD_CET', false);
    level.cpu.set64('ssp', BigInt(SSP - 0x100));
    level.cpu.set64('sCet', 0n);
    expect(run(level, VMCALL)).toBe(R.VMCALL);
    expect([level.c.lo(F.GUEST_SSP), level.c.lo(F.GUEST_IA32_S_CET)]).toEqual([SSP - 0x100, 0]);
  });

  it('“load CET state” of the exit brings the host’s back, and its mode', () => {
    const level = arrange();
    const { c, cpu } = level;
    switchOn(level, 'exit.LOAD_CET');
    c.set(F.HOST_CR0, c.lo(F.HOST_CR0) | Cr0.WP);
    c.set(F.HOST_CR4, c.lo(F.HOST_CR4) | Cr4.CET);
    c.set(F.HOST_IA32_S_CET, CetControl.ENDBR_EN | CetControl.SUPPRESS);
    c.set(F.HOST_SSP, SSP - 0x200);
    c.set(F.HOST_SSP_TABLE, 0x6000);
    expect(run(level, CALL_AND_RET)).toBe(R.VMCALL);
    expect([cpu.get64('ssp'), cpu.get64('sCet'), cpu.get64('interruptSspTable')]).toEqual([
      BigInt(SSP - 0x200),
      BigInt(CetControl.ENDBR_EN | CetControl.SUPPRESS),
      0x6000n,
    ]);
    expect(cpu.get32('mode') & Mode.CET).toBe(Mode.SUPPRESSED);
  });

  it('an entry where an ENDBRANCH is due begins with one, or with #CP, which the exception bitmap sees', () => {
    const waiting = CetControl.ENDBR_EN | CetControl.TRACKER;
    const level = arrange(waiting);
    level.c.set(F.EXCEPTION_BITMAP, 1 << 21);
    expect(run(level, [0x90, ...VMCALL])).toBe(R.EXCEPTION_OR_NMI);
    expect([level.c.lo(F.EXIT_INTERRUPTION_INFORMATION), level.c.lo(F.EXIT_INTERRUPTION_ERROR_CODE)]).toEqual([0x80000b15 | 0, 3]);
    // The tracker is saved as it was.
    expect(level.c.lo(F.GUEST_IA32_S_CET)).toBe(waiting);
    expect(run(level, [0xf3, 0x0f, 0x1e, 0xfa, ...VMCALL])).toBe(R.VMCALL);
    expect(level.c.lo(F.GUEST_IA32_S_CET)).toBe(CetControl.ENDBR_EN);
  });

  it('injects #CP with its error code, onto the shadow stack too', () => {
    const level = arrange();
    const { c } = level;
    arrangeGates(level, [21]);
    c.set(F.GUEST_IDTR_LIMIT, 0xfff);
    c.set(F.GUEST_GDTR_LIMIT, 0xff);
    c.set(F.ENTRY_INTERRUPTION_INFORMATION, 0x80000b15 | 0);
    c.set(F.ENTRY_EXCEPTION_ERROR_CODE, 1);
    expect(run(level, VMCALL)).toBe(R.VMCALL);
    expect(c.lo(F.GUEST_RIP)).toBe(HANDLER);
    expect([c.lo(F.GUEST_SSP), level.memory.read32(SSP - 16)]).toEqual([SSP - 24, Place.L2]);
  });
});

describe('shadow stacks and EPT', () => {
  it('a shadow stack needs a writable page, and a violation says what was wanted', () => {
    const level = arrange();
    arrangeEpt(level, 1, 0, false);
    expect(run(level, CALL_AND_RET)).toBe(R.EPT_VIOLATION);
    // A write, readable, linear address valid, the final access, a shadow stack's.
    expect(level.c.lo(F.EXIT_QUALIFICATION) & 0x61ff).toBe(0x218a);
    expect([level.c.lo(F.GUEST_PHYSICAL_ADDRESS), level.c.lo(F.GUEST_SSP)]).toEqual([SSP - 8, SSP]);
    arrangeEpt(level, 3, 0, false);
    expect(run(level, CALL_AND_RET)).toBe(R.VMCALL);
  });

  it('supervisor shadow-stack control wants bit 60 instead', () => {
    const level = arrange();
    arrangeEpt(level, 3, 0, true);
    expect(run(level, CALL_AND_RET)).toBe(R.EPT_VIOLATION);
    expect(level.c.lo(F.EXIT_QUALIFICATION) & 0x61ff).toBe(0x219a);
    arrangeEpt(level, 1, HIGH_SHADOW_STACK, true);
    expect(run(level, CALL_AND_RET)).toBe(R.VMCALL);
    // Entries above the leaf have to be writable all the same.
    level.memory.write32(EPT.PD + 8, EPT.PT | 5);
    expect(run(level, CALL_AND_RET)).toBe(R.EPT_VIOLATION);
    expect(level.c.lo(F.EXIT_QUALIFICATION) & 0x6000).toBe(0x6000);
  });

  it('bit 60 does not make a page writable for anything else', () => {
    const level = arrange(0);
    arrangeEpt(level, 1, HIGH_SHADOW_STACK, true);
    level.memory.write32(Place.DIRECTORY + 8, SHADOW | 0xe7);
    // mov [SSP], eax
    const store = [0x89, 0x04, 0x25, SSP & 0xff, (SSP >>> 8) & 0xff, (SSP >>> 16) & 0xff, 0];
    expect(run(level, [...store, ...VMCALL])).toBe(R.EPT_VIOLATION);
    expect(level.c.lo(F.EXIT_QUALIFICATION) & 0x61ff).toBe(0x418a);
  });

  it('no exit finds a stack busy before its time: the token and the frame are in one page, and the exit reason never says so', () => {
    const level = arrange();
    const { c, memory } = level;
    switchOn(level, 'exit.ACTIVATE_SECONDARY_CONTROLS', 'exit2.PREMATURELY_BUSY_SHADOW_STACK');
    arrangeGates(level, [3]);
    memory.write32(0x3_7000 + 16 * 3 + 4, memory.read32(0x3_7000 + 16 * 3 + 4) | 1);
    c.set(F.GUEST_IDTR_LIMIT, 0xfff);
    c.set(F.GUEST_GDTR_LIMIT, 0xff);
    c.set(F.GUEST_TR_LIMIT, 0x67);
    c.set(F.GUEST_TR_BASE, 0x7000);
    memory.write32(0x7000 + 0x24, 0x3_9000);
    const token = SHADOW + 0x8ff8;
    memory.write32(0x5000 + 8, token);
    memory.write32(token, token);
    arrangeEpt(level, 3, 0, false);
    memory.write32(EPT.PT + 8 * 8, (token & ~0xfff) | 0x31);
    expect(run(level, [0xcc, ...VMCALL])).toBe(R.EPT_VIOLATION);
    expect([c.lo(F.EXIT_REASON), memory.read32(token)]).toEqual([R.EPT_VIOLATION, token]);
    expect(c.lo(F.IDT_VECTORING_INFORMATION) & 0xff).toBe(3);
    memory.write32(EPT.PT + 8 * 8, (token & ~0xfff) | 0x33);
    expect(run(level, [0xcc, ...VMCALL])).toBe(R.VMCALL);
    expect([c.lo(F.GUEST_SSP), memory.read32(token)]).toEqual([token - 24, token | 1]);
  });
});
