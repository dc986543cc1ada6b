import type { Instruction, Outcome } from '@nestvm/cpu/extension';
import type { Vmx } from '../vmx.js';
import { VMCALL, VMFUNC } from './call.js';
import { VMXOFF, VMXON } from './enter-leave.js';
import { VMREAD, VMWRITE } from './fields.js';
import { INVEPT, INVVPID } from './invalidate.js';
import { VMLAUNCH, VMRESUME } from './launch.js';
import { VMCLEAR, VMPTRLD, VMPTRST } from './pointers.js';

/** The instructions of VMX by mnemonic. */
export const vmxInstructions: Readonly<Record<string, (vmx: Vmx, insn: Readonly<Instruction>) => Outcome>> = {
  VMXON,
  VMXOFF,
  VMCLEAR,
  VMPTRLD,
  VMPTRST,
  VMREAD,
  VMWRITE,
  VMLAUNCH,
  VMRESUME,
  VMCALL,
  VMFUNC,
  INVEPT,
  INVVPID,
};
