import { BoundConfig, Cr4, Vector, vcpuState, Xstate } from '@nestvm/isa';
import { describe, expect, it } from 'vitest';
import { F } from '../src/fields/layout.js';
import { ExitReason as R } from '../src/transitions/reasons.js';
import { run, switchOn } from './guest-code.js';
import { createLevel, type Level, Place } from './level.js';

const BNDCFGS = 0xd90;
const L1_DIRECTORY = 0x40_0000 | BoundConfig.EN;
const L2_DIRECTORY = 0x50_0000 | BoundConfig.EN;
const MSR_BITMAPS = 0x3_9000;
const { offset } = vcpuState;
const BOUNDS = offset.bounds / 4;

/** A level of a model with MPX, in which both L1 and L2 may use it. */
function arrange(...controls: readonly string[]): Level {
  const level = createLevel('Skylake-Server,vmx=on,mpx=on');
  const { c, w } = level;
  switchOn(level, ...controls);
  w[offset.xcr0 / 4] = Xstate.X87 | Xstate.SSE | Xstate.BNDREGS | Xstate.BNDCSR;
  level.host(`mov ecx, ${BNDCFGS}\nmov eax, ${L1_DIRECTORY}\nxor edx, edx\nwrmsr`);
  c.set(F.GUEST_CR4, c.lo(F.GUEST_CR4) | Cr4.OSXSAVE);
  c.set(F.EXCEPTION_BITMAP, 1 << Vector.BR);
  return level;
}

const config = (level: Level): number => level.w[offset.bndCfgS / 4]!;
const makes = 'mov eax, 0x1000\nbndmk bnd0, [rax+15]';

describe('load and clear IA32_BNDCFGS', () => {
  it('L2 runs with its own, and without MPX where it is 0', () => {
    const level = arrange('entry.LOAD_BNDCFGS');
    expect(run(level, makes)).toBe(R.VMCALL);
    expect(level.w[BOUNDS], 'a NOP').toBe(0);
    level.c.set(F.GUEST_IA32_BNDCFGS, L2_DIRECTORY);
    expect(run(level, makes)).toBe(R.VMCALL);
    expect([level.w[BOUNDS], level.c.lo(F.GUEST_IA32_BNDCFGS)]).toEqual([0x1000, L2_DIRECTORY]);
  });

  it('without the control L2 has what L1 has, and each exit tells what L2 left', () => {
    const level = arrange('proc1.USE_MSR_BITMAPS');
    level.c.set(F.MSR_BITMAP, MSR_BITMAPS);
    expect(run(level, `${makes}\nmov ecx, ${BNDCFGS}\nmov eax, ${L2_DIRECTORY}\nxor edx, edx\nwrmsr`)).toBe(R.VMCALL);
    expect([level.w[BOUNDS], level.c.lo(F.GUEST_IA32_BNDCFGS), config(level)]).toEqual([0x1000, L2_DIRECTORY, L2_DIRECTORY]);
  });

  it('an exit clears it when asked to', () => {
    const level = arrange('entry.LOAD_BNDCFGS', 'exit.CLEAR_BNDCFGS');
    level.c.set(F.GUEST_IA32_BNDCFGS, L2_DIRECTORY);
    expect(run(level, 'nop')).toBe(R.VMCALL);
    expect([config(level), level.c.lo(F.GUEST_IA32_BNDCFGS)]).toEqual([0, L2_DIRECTORY]);
  });

  it('a violated bound of L2 exits as #BR, with BNDSTATUS set', () => {
    const level = arrange('entry.LOAD_BNDCFGS');
    level.c.set(F.GUEST_IA32_BNDCFGS, L2_DIRECTORY);
    expect(run(level, `${makes}\nbndcl bnd0, [rax-1]`)).toBe(R.EXCEPTION_OR_NMI);
    expect([level.c.lo(F.EXIT_INTERRUPTION_INFORMATION) & 0xff, level.w[offset.bndStatus / 4]]).toEqual([Vector.BR, 1]);
  });

  it('a model without MPX has neither control nor MSR', () => {
    const level = createLevel('Skylake-Server,vmx=on');
    expect(level.vmx.capabilities.controls.entry.may & (1 << 16)).toBe(0);
    expect(level.host(`mov ecx, ${BNDCFGS}\nrdmsr`)).toBe(-1);
  });

  it('bounds pass from L1 to L2 and back as they are', () => {
    const level = arrange('entry.LOAD_BNDCFGS');
    level.c.set(F.GUEST_IA32_BNDCFGS, L2_DIRECTORY);
    level.host('mov rax, 0x77\nbndmk bnd3, [rax]');
    expect(run(level, `bndmov [${Place.DATA}], bnd3`)).toBe(R.VMCALL);
    expect([level.memory.read32(Place.DATA), level.w[BOUNDS + 12]]).toEqual([0x77, 0x77]);
  });
});
