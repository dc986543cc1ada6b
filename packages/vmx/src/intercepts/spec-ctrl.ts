import { deliverFault, GPR, word } from '@nestvm/cpu/extension';
import { Vector } from '@nestvm/isa';
import { F } from '../fields/layout.js';
import { endInstruction } from '../transitions/exit.js';
import type { Vmx } from '../vmx.js';
import { skip } from './control-registers.js';

/** Index of IA32_SPEC_CTRL. */
export const SPEC_CTRL = 0x48;

const f = { mask: F.SPEC_CTRL_MASK, shadow: F.SPEC_CTRL_SHADOW } as const;
const REAL = word('specCtrl');
const RAX = GPR;
const RDX = GPR + 4;

/** RDMSR of IA32_SPEC_CTRL under "virtualize IA32_SPEC_CTRL": the guest sees what it has written last, the shadow. */
export function readSpecCtrl(vmx: Vmx, length: number): true {
  const { cpu, i32, region } = vmx;
  const { w } = cpu;
  w[RAX] = i32[region + f.shadow]!;
  w[RAX + 1] = 0;
  w[RDX] = i32[region + f.shadow + 1]!;
  w[RDX + 1] = 0;
  skip(vmx, length);
  cpu.attention = 1;
  return true;
}

/** WRMSR, likewise: the value goes to the shadow, and to the MSR but for the bits that the mask keeps. */
export function writeSpecCtrl(vmx: Vmx, length: number): true {
  const { cpu, i32, region } = vmx;
  const { w } = cpu;
  const lo = w[RAX]!;
  const hi = w[RDX]!;
  const before = w[REAL]!;
  // A value that the MSR itself refuses is refused here.
  if (!cpu.msrs.write(SPEC_CTRL, lo, hi)) {
    cpu.raise(Vector.GP, 0);
    deliverFault(cpu);
    endInstruction(cpu);
    return true;
  }
  const mask = i32[region + f.mask]!;
  w[REAL] = (before & mask) | (lo & ~mask);
  i32[region + f.shadow] = lo;
  i32[region + f.shadow + 1] = hi;
  skip(vmx, length);
  cpu.attention = 1;
  return true;
}
