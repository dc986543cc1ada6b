import { ApicRegister } from '@nestvm/isa';
import { Proc2 } from '../controls/controls.js';
import { skip } from '../intercepts/control-registers.js';
import { exitGuest } from '../transitions/exit.js';
import type { Vmx } from '../vmx.js';

/**
 * The notification of SENDUIPI where the local APIC is virtualized (SDM Vol. 3, "Changes to Instruction Behavior in VMX Non-Root Operation"): a write of the virtual interrupt
 * command, in the form of the mode that is virtualized, which IPI virtualization sends and otherwise exits behind the instruction. False: it is sent by the physical APIC.
 */
export function sendUserIpi(vmx: Vmx, length: number, vector: number, destination: number): boolean {
  const { apic, controls } = vmx;
  const x2apic = controls.hasProc2(Proc2.VIRTUALIZE_X2APIC_MODE);
  if (!apic.shadow || (!x2apic && !controls.hasProc2(Proc2.VIRTUALIZE_APIC_ACCESSES))) return false;
  const target = x2apic ? destination : (destination >>> 8) & 0xff;
  apic.write(ApicRegister.ICR_LOW, vector);
  if (x2apic) apic.write(ApicRegister.ICR_LOW + 4, target);
  else apic.write(ApicRegister.ICR_HIGH, target << 24);
  skip(vmx, length);
  vmx.cpu.attention = 1;
  if (!apic.post(vector, target)) exitGuest(vmx, apic.unaccelerated(ApicRegister.ICR_LOW));
  return true;
}
