import { ACTIVITY, Activity, INTERRUPTIBILITY, Place, RFLAGS, Shadow } from '@nestvm/cpu/extension';
import { Rflags } from '@nestvm/isa';
import { Delivery } from '../apic/virtual-apic.js';
import { Proc1 } from '../controls/controls.js';
import { exitGuest } from '../transitions/exit.js';
import { ExitReason } from '../transitions/reasons.js';
import type { Vmx } from '../vmx.js';

function leave(vmx: Vmx, reason: number): true {
  exitGuest(vmx, reason);
  return true;
}

/** Exits that come before debug traps: APIC writes, TPR below threshold, monitor trap flag. */
function beforeTraps(vmx: Vmx): boolean {
  const reason = vmx.apic.service();
  if (reason >= 0) return leave(vmx, reason);
  return vmx.trapPending && leave(vmx, ExitReason.MONITOR_TRAP_FLAG);
}

/** The preemption timer, then the NMI window. */
function beforeNmi(vmx: Vmx): boolean {
  const { w } = vmx.cpu;
  if (w[ACTIVITY] === Activity.WAIT_FOR_SIPI) return false;
  if (vmx.timer.expired) return leave(vmx, ExitReason.PREEMPTION_TIMER);
  if (!vmx.controls.hasProc1(Proc1.NMI_WINDOW_EXITING)) return false;
  return (w[INTERRUPTIBILITY]! & (Shadow.VIRTUAL_NMI | Shadow.MOV_SS | Shadow.STI)) === 0 && leave(vmx, ExitReason.NMI_WINDOW);
}

/** The interrupt window, then virtual interrupts. */
function beforeInterrupt(vmx: Vmx): boolean {
  const { w } = vmx.cpu;
  const activity = w[ACTIVITY];
  if (activity === Activity.SHUTDOWN || activity === Activity.WAIT_FOR_SIPI) return false;
  vmx.deadline.service();
  if ((w[RFLAGS]! & Rflags.IF) === 0 || (w[INTERRUPTIBILITY]! & (Shadow.MOV_SS | Shadow.STI)) !== 0) return false;
  if (vmx.controls.hasProc1(Proc1.INTERRUPT_WINDOW_EXITING)) return leave(vmx, ExitReason.INTERRUPT_WINDOW);
  const delivered = vmx.apic.deliver();
  return delivered >= 0 ? leave(vmx, delivered) : delivered !== Delivery.NONE;
}

/** See `Virtualization.service`. */
export function serviceOwnEvents(vmx: Vmx, place: Place): boolean {
  switch (place) {
    case Place.BEFORE_TRAPS:
      return beforeTraps(vmx);
    case Place.BEFORE_NMI:
      return beforeNmi(vmx);
    case Place.BEFORE_INTERRUPT:
      return beforeInterrupt(vmx);
  }
}
