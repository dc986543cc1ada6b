import { Proc1, Proc2 } from '../controls/controls.js';
import type { VmxCapabilities } from './capabilities.js';

/** A capability MSR: index, name, and its value as two int32 halves. */
export interface CapabilityMsr {
  readonly index: number;
  readonly name: string;
  readonly lo: number;
  readonly hi: number;
}

/** The VMX capability MSRs that a CPU with these capabilities has (SDM Vol. 3, "VMX Capability Reporting Facility"). */
export function capabilityMsrs(c: VmxCapabilities): CapabilityMsr[] {
  const { pin, proc1, proc2, proc3, exit, exit2, entry, vmfunc } = c.controls;
  const msrs: CapabilityMsr[] = [];
  const add = (index: number, name: string, lo: number, hi: number): void => {
    msrs.push({ index, name, lo, hi });
  };
  add(0x480, 'IA32_VMX_BASIC', c.revision, c.basicHi);
  add(0x481, 'IA32_VMX_PINBASED_CTLS', pin.oldMust, pin.may);
  add(0x482, 'IA32_VMX_PROCBASED_CTLS', proc1.oldMust, proc1.may);
  add(0x483, 'IA32_VMX_EXIT_CTLS', exit.oldMust, exit.may);
  add(0x484, 'IA32_VMX_ENTRY_CTLS', entry.oldMust, entry.may);
  add(0x485, 'IA32_VMX_MISC', c.miscLo, 0);
  add(0x486, 'IA32_VMX_CR0_FIXED0', c.cr0Fixed0, 0);
  add(0x487, 'IA32_VMX_CR0_FIXED1', c.cr0Fixed1, 0);
  add(0x488, 'IA32_VMX_CR4_FIXED0', c.cr4Fixed0, 0);
  add(0x489, 'IA32_VMX_CR4_FIXED1', c.cr4Fixed1, c.cr4Fixed1Hi);
  add(0x48a, 'IA32_VMX_VMCS_ENUM', c.vmcsEnum, 0);
  if ((proc1.may & Proc1.ACTIVATE_SECONDARY_CONTROLS) !== 0) add(0x48b, 'IA32_VMX_PROCBASED_CTLS2', proc2.must, proc2.may);
  if ((proc2.may & (Proc2.ENABLE_EPT | Proc2.ENABLE_VPID)) !== 0) add(0x48c, 'IA32_VMX_EPT_VPID_CAP', c.eptVpidLo, c.eptVpidHi);
  add(0x48d, 'IA32_VMX_TRUE_PINBASED_CTLS', pin.must, pin.may);
  add(0x48e, 'IA32_VMX_TRUE_PROCBASED_CTLS', proc1.must, proc1.may);
  add(0x48f, 'IA32_VMX_TRUE_EXIT_CTLS', exit.must, exit.may);
  add(0x490, 'IA32_VMX_TRUE_ENTRY_CTLS', entry.must, entry.may);
  if (vmfunc.may !== 0) add(0x491, 'IA32_VMX_VMFUNC', vmfunc.may, 0);
  if (proc3.may !== 0) add(0x492, 'IA32_VMX_PROCBASED_CTLS3', proc3.may, 0);
  if (exit2.may !== 0) add(0x493, 'IA32_VMX_EXIT_CTLS2', exit2.may, 0);
  return msrs;
}
