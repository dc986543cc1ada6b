import { CPL, CR0, CR4, EFER, MODE, RFLAGS, word } from '@nestvm/cpu/extension';
import { Cr0, Cr4, Efer, Mode, Rflags } from '@nestvm/isa';
import type { Vmx } from '../vmx.js';

const FEATURE_CONTROL = word('featureControl');
const LOCK = 1;
const OUTSIDE_SMX = 4;
const hex = (value: number): string => `${(value >>> 0).toString(16)}h`;

/** What VMXON wants of CR0, CR4 and IA32_FEATURE_CONTROL. */
function vmxonReasons({ cpu, capabilities: c }: Vmx): string[] {
  const { w } = cpu;
  const cr0 = w[CR0]!;
  const cr4 = w[CR4]!;
  const reasons: string[] = [];
  if ((cr4 & Cr4.VMXE) === 0) reasons.push(`CR4 is ${hex(cr4)}: VMXE (bit 13) must be 1`);
  if ((cr0 & c.cr0Fixed0) !== c.cr0Fixed0) reasons.push(`CR0 is ${hex(cr0)}: bits ${hex(c.cr0Fixed0 & ~cr0)} must be 1 (IA32_VMX_CR0_FIXED0)`);
  if ((cr4 & ~c.cr4Fixed1) !== 0) reasons.push(`CR4 is ${hex(cr4)}: bits ${hex(cr4 & ~c.cr4Fixed1)} must be 0 (IA32_VMX_CR4_FIXED1)`);
  const control = w[FEATURE_CONTROL]!;
  if ((control & LOCK) === 0) reasons.push(`IA32_FEATURE_CONTROL is ${hex(control)}: the lock bit (0) must be 1; write 5 to MSR 3AH`);
  else if ((control & OUTSIDE_SMX) === 0)
    reasons.push(`IA32_FEATURE_CONTROL is ${hex(control)}: VMX outside of SMX (bit 2) is 0 and locked: firmware has turned VMX off`);
  return reasons;
}

/** Why a VMX instruction was #UD or #GP, from the state of the processor. */
export function faultReasons(vmx: Vmx): readonly string[] {
  const { cpu } = vmx;
  const { w } = cpu;
  const name = cpu.instruction!.row.mnemonic;
  const reasons: string[] = [];
  if ((w[CR0]! & Cr0.PE) === 0) reasons.push('the processor is in real mode (CR0.PE = 0)');
  if ((w[RFLAGS]! & Rflags.VM) !== 0) reasons.push('the processor is in virtual-8086 mode');
  if ((w[EFER]! & Efer.LMA) !== 0 && (w[MODE]! & Mode.LONG) === 0) reasons.push('the processor is in compatibility mode: CS.L must be 1');
  if (name !== 'VMXON' && !vmx.on) reasons.push('the processor is not in VMX operation: VMXON comes first');
  if (name === 'VMXON') reasons.push(...vmxonReasons(vmx));
  if (w[CPL] !== 0) reasons.push(`CPL is ${w[CPL]}, and must be 0`);
  if (name === 'VMFUNC' && vmx.on) reasons.push('VMFUNC is for guests whose “enable VM functions” is 1');
  return reasons;
}
