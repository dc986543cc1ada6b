import type { Vcpu } from '@nestvm/cpu';
import {
  ACTIVITY,
  Activity,
  deliverFault,
  deliverInterrupt,
  EventKind,
  GUEST_MODE,
  INTERRUPTIBILITY,
  PENDING_EVENTS,
  PendingEvent,
  RFLAGS,
  Shadow,
  word,
} from '@nestvm/cpu/extension';
import { Rflags, Vector } from '@nestvm/isa';
import type { SvmContext } from '../context.js';
import { ExitCode } from '../exits/codes.js';
import { VmCr } from '../msrs.js';
import { serviceWrite, vmexit } from '../transitions/vmexit.js';
import { IntControl, Vmcb } from '../vmcb/layout.js';
import { HOST_RFLAGS, VM_CR } from '../words.js';
import { isIntercepted } from './intercept-bit.js';

const HWCR = word('hwcr');
const SMM_LOCK = 1;
const EXTERNAL = 1;

/** An exit for an event that stays pending: the host takes it when GIF is 1 again. */
function exitAndKeep(svm: SvmContext, code: number, pending: number, info1 = 0): boolean {
  if (!isIntercepted(svm, code)) return false;
  const { w } = svm.cpu;
  w[PENDING_EVENTS] = w[PENDING_EVENTS]! | pending;
  return vmexit(svm, code, 0, info1);
}

/** SMIs come from outside of the processor; HWCR.SMMLOCK keeps hypervisors from them (APM Vol. 2, "SMI Intercept"). */
function exitForSmi(svm: SvmContext): boolean {
  return (svm.cpu.w[HWCR]! & SMM_LOCK) === 0 && exitAndKeep(svm, ExitCode.SMI, PendingEvent.SMI, EXTERNAL);
}

/** An intercepted task switch: the selector of the new TSS, and why, in the format of `interceptEvent`'s detail. */
function exitTaskSwitch(svm: SvmContext, detail: number): boolean {
  if (!isIntercepted(svm, ExitCode.TASK_SWITCH)) return false;
  const { cpu } = svm;
  const reason = detail >>> 30;
  const hasError = cpu.vectoring !== 0 && (cpu.vectoring & (1 << 11)) !== 0;
  let high = 0;
  if (reason === 1) high |= 1 << 4;
  if (reason === 2) high |= 1 << 6;
  if (hasError) high |= 1 << 12;
  if ((cpu.w[RFLAGS]! & Rflags.RF) !== 0) high |= 1 << 16;
  const length = cpu.vectoring !== 0 ? 0 : (cpu.instruction?.length ?? 0);
  return vmexit(svm, ExitCode.TASK_SWITCH, length, detail & 0xffff, 0, hasError ? cpu.vectoringError : 0, high);
}

/** An INIT that nobody intercepts ends guest mode with everything else; a redirected one is an exception of the guest. */
function initInGuest(svm: SvmContext): false {
  const { w } = svm.cpu;
  if ((w[VM_CR]! & VmCr.R_INIT) === 0) {
    w[GUEST_MODE] = 0;
    svm.mmu.leaveGuest();
  }
  return false;
}

/** SMI and INIT come before the effect of a write to the virtual APIC is looked at; when that effect is an exit, they wait. */
function leavesForWrite(svm: SvmContext, event: string): boolean {
  if (!serviceWrite(svm)) return false;
  const { w } = svm.cpu;
  if (event === 'SMI') w[PENDING_EVENTS] = w[PENDING_EVENTS]! | PendingEvent.SMI;
  if (event === 'INIT') w[PENDING_EVENTS] = w[PENDING_EVENTS]! | PendingEvent.INIT;
  return true;
}

/** Asked at an instruction boundary, or before a shutdown or task switch; see `Virtualization.interceptEvent`. */
export function interceptEvent(svm: SvmContext, event: string, detail: number): boolean {
  if (svm.avic.written >= 0 && leavesForWrite(svm, event)) return true;
  switch (event) {
    case 'INTR':
      return isIntercepted(svm, ExitCode.INTR) && vmexit(svm, ExitCode.INTR);
    case 'NMI':
      return exitAndKeep(svm, ExitCode.NMI, PendingEvent.NMI);
    case 'SMI':
      return exitForSmi(svm);
    case 'INIT':
      return exitAndKeep(svm, ExitCode.INIT, PendingEvent.INIT) || initInGuest(svm);
    case 'SHUTDOWN':
      return isIntercepted(svm, ExitCode.SHUTDOWN) && vmexit(svm, ExitCode.SHUTDOWN);
    case 'TASK_SWITCH':
      return exitTaskSwitch(svm, detail);
    default:
      return false;
  }
}

const control = (svm: SvmContext): number => svm.i32[svm.vmcb + Vmcb.INT_CONTROL]!;

/** Under V_INTR_MASKING the host's RFLAGS.IF gates physical interrupts, and the guest's its virtual ones. */
export function physicalInterruptsAllowed(svm: SvmContext): boolean {
  const { w } = svm.cpu;
  return ((control(svm) & IntControl.V_INTR_MASKING) !== 0 ? w[HOST_RFLAGS]! & Rflags.IF : w[RFLAGS]! & Rflags.IF) !== 0;
}

const virtualGif = (svm: SvmContext, bits: number): boolean =>
  !svm.features.vgif || (bits & IntControl.V_GIF_ENABLE) === 0 || (bits & IntControl.V_GIF) !== 0;

function wake(svm: SvmContext): void {
  svm.cpu.w[ACTIVITY] = Activity.ACTIVE;
}

/** True when the guest in force has virtual NMIs. */
export const virtualNmis = (svm: SvmContext): boolean => svm.features.vnmi && (control(svm) & IntControl.V_NMI_ENABLE) !== 0;

/** Delivers a pending virtual NMI (APM Vol. 2, "NMI Virtualization"). While the guest runs, V_NMI_MASK is `Shadow.VIRTUAL_NMI`, which IRET clears. */
export function serviceVirtualNmi(svm: SvmContext): boolean {
  const { cpu } = svm;
  const bits = control(svm);
  if ((bits & IntControl.V_NMI) === 0 || !virtualNmis(svm) || !virtualGif(svm, bits)) return false;
  if ((cpu.w[INTERRUPTIBILITY]! & (Shadow.VIRTUAL_NMI | Shadow.STI | Shadow.MOV_SS)) !== 0) return false;
  svm.i32[svm.vmcb + Vmcb.INT_CONTROL] = bits & ~IntControl.V_NMI;
  cpu.w[INTERRUPTIBILITY] = cpu.w[INTERRUPTIBILITY]! | Shadow.VIRTUAL_NMI;
  wake(svm);
  deliverInterrupt(cpu, Vector.NMI, EventKind.NMI);
  return true;
}

/** Whether a virtual interrupt may wait for the guest's RFLAGS.IF. */
export const awaitsInterruptFlag = (svm: SvmContext): boolean => svm.avic.on || (control(svm) & IntControl.V_IRQ) !== 0;

/** True while a virtual interrupt or virtual NMI is pending, whatever holds it up. */
export function isVirtualPending(svm: SvmContext): boolean {
  const bits = control(svm);
  if (virtualNmis(svm) && (bits & IntControl.V_NMI) !== 0) return true;
  return svm.avic.on ? svm.avic.isPending() : (bits & IntControl.V_IRQ) !== 0;
}

/** Delivers or intercepts a pending virtual interrupt (APM Vol. 2, "Virtual Interrupts"). */
export function serviceVirtualInterrupt(svm: SvmContext, held: boolean): boolean {
  const { cpu } = svm;
  const bits = control(svm);
  if (svm.avic.on) return !held && virtualGif(svm, bits) && svm.avic.deliver();
  if ((bits & IntControl.V_IRQ) === 0 || held || (cpu.w[RFLAGS]! & Rflags.IF) === 0 || !virtualGif(svm, bits)) return false;
  const priority = (bits >>> IntControl.V_PRIORITY_SHIFT) & 15;
  if ((bits & IntControl.V_IGNORE_TPR) === 0 && priority <= (bits & 15)) return false;
  if (isIntercepted(svm, ExitCode.VINTR)) return vmexit(svm, ExitCode.VINTR);
  svm.i32[svm.vmcb + Vmcb.INT_CONTROL] = bits & ~IntControl.V_IRQ;
  wake(svm);
  deliverInterrupt(cpu, svm.i32[svm.vmcb + Vmcb.INT_VECTOR]! & 0xff, EventKind.INTERRUPT);
  return true;
}

const SX = 30;
const SX_INIT = 1;

/** INIT becomes a security exception under VM_CR.R_INIT (APM Vol. 2, "INIT Redirection"); false: it is an INIT. */
export function redirectInit(svm: SvmContext, cpu: Vcpu): boolean {
  if ((cpu.w[VM_CR]! & VmCr.R_INIT) === 0) return false;
  wake(svm);
  cpu.raise(SX, SX_INIT);
  deliverFault(cpu);
  return true;
}
