import { StageFaultKind } from '@nestvm/mmu';
import { refusedAccess } from '../apic/accesses.js';
import { exitGuest } from '../transitions/exit.js';
import { ExitReason } from '../transitions/reasons.js';
import type { Vmx } from '../vmx.js';
import { deliverAsException } from './virtualization-exception.js';

const NMI_UNBLOCKING = 1 << 12;
const SPP_MISS = 1 << 11;

/** RFLAGS.RF of the exit: as it would have been saved by a fault, unless an event was being delivered. */
function stage(vmx: Vmx): void {
  const { cpu, exitRecord, mmu } = vmx;
  const fault = mmu.stageFault;
  exitRecord.physical = fault.guestPhysical;
  if (fault.linearValid) {
    exitRecord.linearLo = fault.linearLo;
    exitRecord.linearHi = fault.linearHi;
  }
  if (cpu.vectoring === 0) exitRecord.resumeFlag = 'set';
}

/** See `Virtualization.secondStageFault`: the EPT violation or misconfiguration, or what PML and SPP make of an access, as an exit (or #VE). */
export function secondStageFault(vmx: Vmx): void {
  if (vmx.refusedOffset >= 0) return refusedAccess(vmx);
  const { cpu, exitRecord, mmu } = vmx;
  const fault = mmu.stageFault;
  if (fault.kind === StageFaultKind.VIOLATION && deliverAsException(vmx)) return;
  const unblocked = cpu.nmiUnblocked !== 0 && cpu.vectoring === 0 ? NMI_UNBLOCKING : 0;
  stage(vmx);
  switch (fault.kind) {
    case StageFaultKind.VIOLATION:
      exitRecord.qualify(fault.qualification | unblocked);
      return exitGuest(vmx, ExitReason.EPT_VIOLATION);
    case StageFaultKind.PAGE_LOG_FULL:
      exitRecord.qualify(unblocked);
      return exitGuest(vmx, ExitReason.PAGE_LOG_FULL);
    case StageFaultKind.SPP_MISS:
      exitRecord.qualify(SPP_MISS | unblocked);
      return exitGuest(vmx, ExitReason.SPP);
    case StageFaultKind.SPP_MISCONFIGURATION:
      exitRecord.qualify(unblocked);
      return exitGuest(vmx, ExitReason.SPP);
    default:
      return exitGuest(vmx, ExitReason.EPT_MISCONFIGURATION);
  }
}
