import { GUEST_MODE } from '@nestvm/cpu/extension';
import { VmxWord } from '../state.js';
import type { Vmx } from '../vmx.js';
import { guestModeOf } from './guest-mode.js';

/** What SMM has interrupted. */
const Interrupted = { NOTHING: 0, ROOT: 1, NON_ROOT: 2 } as const;

/** Default treatment of an SMI (SDM Vol. 3, "Default Treatment of SMI Delivery"): VMX operation is left without an exit, and remembered. */
export function enterSmm(vmx: Vmx): void {
  const { w } = vmx.cpu;
  w[VmxWord.SMM_INTERRUPTED] = w[VmxWord.ON] === 0 ? Interrupted.NOTHING : w[GUEST_MODE] === 0 ? Interrupted.ROOT : Interrupted.NON_ROOT;
  w[VmxWord.ON] = 0;
  vmx.locateRegion();
  if (w[GUEST_MODE] === 0) return;
  w[GUEST_MODE] = 0;
  vmx.mmu.leaveGuest();
}

/** RSM: back to the VMX operation that was interrupted; the registers are loaded already. */
export function leaveSmm(vmx: Vmx): void {
  const { w } = vmx.cpu;
  const interrupted = w[VmxWord.SMM_INTERRUPTED]!;
  w[VmxWord.SMM_INTERRUPTED] = Interrupted.NOTHING;
  if (interrupted === Interrupted.NOTHING) return;
  w[VmxWord.ON] = 1;
  vmx.locateRegion();
  if (interrupted !== Interrupted.NON_ROOT || vmx.region < 0) return;
  w[GUEST_MODE] = guestModeOf(vmx.controls);
  vmx.lendFields();
  vmx.mmu.enterGuest(vmx.space);
}
