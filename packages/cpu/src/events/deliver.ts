import { Mode, Rflags, Vector } from '@nestvm/isa';
import { Delivery } from '../interpreter/delivery.js';
import { SECOND_STAGE_VECTOR } from '../linear.js';
import { DebugCtl, Shadow } from '../mode.js';
import { Outcome } from '../outcome.js';
import { EventKind } from '../ports/virtualization.js';
import type { Vcpu } from '../vcpu.js';
import {
  ACTIVITY,
  CR2,
  DEBUG_CTL,
  FAULT_ERROR,
  FAULT_HAS_ERROR,
  FAULT_VECTOR,
  GUEST_MODE,
  INTERRUPTIBILITY,
  MODE,
  RIP,
  SLOW_ADDRESS,
} from '../words.js';
import { noteDelivery } from './branches.js';
import { enterDebugException } from './debug.js';
import { deliverLong } from './long.js';
import { deliverProtected } from './protected.js';
import { deliverReal } from './real.js';

/** Values of `activity` in the vCPU state. */
export const Activity = { ACTIVE: 0, HLT: 1, SHUTDOWN: 2, WAIT_FOR_SIPI: 3, MWAIT: 4 } as const;

// #DE #TS #NP #SS #GP and #CP; #PF and #VE have a class of their own.
const CONTRIBUTORY = (1 << Vector.DE) | (1 << Vector.TS) | (1 << Vector.NP) | (1 << Vector.SS) | (1 << Vector.GP) | (1 << Vector.CP);
const PAGE_FAULT = (1 << Vector.PF) | (1 << Vector.VE);

/** True when `second`, raised while `first` was being delivered, makes a double fault (SDM Vol. 3, "Conditions for Generating a Double Fault"). */
export function isDoubleFault(first: number, second: number): boolean {
  if (second > 31) return false;
  const contributorySecond = ((CONTRIBUTORY >>> second) & 1) !== 0;
  if (((CONTRIBUTORY >>> first) & 1) !== 0) return contributorySecond;
  return ((PAGE_FAULT >>> first) & 1) !== 0 && (contributorySecond || ((PAGE_FAULT >>> second) & 1) !== 0);
}

/** Whether an exception is a fault, whose saved RFLAGS image has RF set. */
export const isFault = (vector: number): boolean => vector !== Vector.DB && vector !== Vector.DF && vector !== Vector.MC;

const setsResumeFlag = (vector: number, kind: EventKind): boolean => kind === EventKind.EXCEPTION && isFault(vector);

/** RFLAGS as pushed: RF is set for faults, so that returning does not hit the same code breakpoint again. */
function flagsImage(cpu: Vcpu, vector: number, kind: EventKind): number {
  const flags = cpu.readRflags();
  return setsResumeFlag(vector, kind) ? flags | Rflags.RF : flags;
}

/**
 * Delivers one event once, through the IVT or IDT of the mode in force. False: a fault was recorded, nothing but stack memory and
 * accessed bits has changed.
 */
function deliverOnce(cpu: Vcpu, vector: number, kind: EventKind, error: number, hasError: boolean, returnLo: number, returnHi: number): boolean {
  const w = cpu.w;
  const mode = w[MODE]!;
  if (cpu.onDelivery !== null) cpu.onDelivery(vector, kind, error, hasError);
  if (w[GUEST_MODE] !== 0) noteVectoring(cpu, vector, kind, error, hasError, returnLo);
  // The handler starts without the interrupt shadow of the interrupted program.
  w[INTERRUPTIBILITY] = w[INTERRUPTIBILITY]! & ~(Shadow.STI | Shadow.MOV_SS);
  const flags = flagsImage(cpu, vector, kind);
  const fromLo = w[RIP]!;
  const fromHi = w[RIP + 1]!;
  cpu.ext = kind === EventKind.SOFTWARE_INTERRUPT || kind === EventKind.SOFTWARE_EXCEPTION ? 0 : 1;
  let done: boolean;
  if ((mode & Mode.LONG) !== 0 && isPlainlyDelivered(cpu, vector, kind, error, hasError, returnLo, returnHi)) done = true;
  else if ((mode & Mode.IA32E) !== 0) done = deliverLong(cpu, vector, kind, error, hasError, returnLo, returnHi, flags);
  else if ((mode & (Mode.PROTECTED | Mode.V8086)) === 0) done = deliverReal(cpu, vector, returnLo, flags);
  else done = deliverProtected(cpu, vector, kind, error, hasError, returnLo, flags);
  cpu.ext = 0;
  // After a failure the event stays noted: what follows happened during its delivery.
  if (done) {
    cpu.vectoring = 0;
    cpu.nmiUnblocked = 0;
    if ((w[DEBUG_CTL]! & (DebugCtl.LBR | DebugCtl.BTF)) !== 0)
      noteDelivery(cpu, vector === Vector.DB && kind !== EventKind.SOFTWARE_INTERRUPT, fromLo, fromHi);
  }
  return done;
}

/** Has generated code deliver the event, which knows plain gates. */
function isPlainlyDelivered(
  cpu: Vcpu,
  vector: number,
  kind: EventKind,
  error: number,
  hasError: boolean,
  returnLo: number,
  returnHi: number,
): boolean {
  const how = (hasError ? Delivery.HAS_ERROR : 0) | (cpu.ext === 0 ? Delivery.SOFTWARE : 0) | (setsResumeFlag(vector, kind) ? Delivery.FAULT : 0);
  return cpu.deliverPlain(cpu.base, vector, how, error, returnLo, returnHi) !== 0;
}

/** Remembers what is being delivered, for an exit that interrupts it. */
function noteVectoring(cpu: Vcpu, vector: number, kind: EventKind, error: number, hasError: boolean, returnLo: number): void {
  cpu.vectoring = (1 << 31) | (hasError ? 1 << 11 : 0) | (kind << 8) | vector;
  cpu.vectoringError = error;
  cpu.vectoringLength = (returnLo - cpu.w[RIP]!) & 0xff;
}

/** Shutdown after a triple fault: the CPU stops until RESET, INIT, NMI or SMI; platforms answer with a reset. */
export function shutDown(cpu: Vcpu): void {
  if (cpu.w[GUEST_MODE] !== 0 && cpu.virtualization?.interceptEvent(cpu, 'SHUTDOWN', 0) === true) return;
  cpu.w[ACTIVITY] = Activity.SHUTDOWN;
  cpu.onPlatformEvent('shutdown');
}

/** CR2 gets the address of a page fault when it is delivered, also as part of a double fault. */
export function writeCr2(w: Int32Array): void {
  w[CR2] = w[SLOW_ADDRESS]!;
  w[CR2 + 1] = w[SLOW_ADDRESS + 1]!;
}

/**
 * A fault during the delivery of an exception, which the two would turn into a double fault or a shutdown: in guest mode the hypervisor sees it as itself
 * first (and hypervisors with shadow page tables must). True: it made the VM exit.
 */
function takenAsSecond(cpu: Vcpu): boolean {
  const { w, virtualization } = cpu;
  if (w[GUEST_MODE] === 0 || virtualization === null) return false;
  const vector = w[FAULT_VECTOR]!;
  if (vector === SECOND_STAGE_VECTOR) {
    virtualization.secondStageFault(cpu);
    return true;
  }
  return virtualization.interceptException(cpu, vector, w[FAULT_ERROR]!, w[FAULT_HAS_ERROR] !== 0, EventKind.EXCEPTION);
}

/**
 * Delivers the fault that `raise` recorded, with RIP at the faulting instruction; faults on the way become #DF or follow as the manual's
 * table says, and a fault while delivering #DF shuts the CPU down.
 */
export function deliverFault(cpu: Vcpu): void {
  const w = cpu.w;
  let vector = w[FAULT_VECTOR]!;
  let error = w[FAULT_ERROR]!;
  let hasError = w[FAULT_HAS_ERROR] !== 0;
  for (;;) {
    if (vector === SECOND_STAGE_VECTOR) {
      cpu.virtualization?.secondStageFault(cpu);
      return;
    }
    if (w[GUEST_MODE] !== 0 && cpu.virtualization?.interceptException(cpu, vector, error, hasError, EventKind.EXCEPTION) === true) return;
    if (vector === Vector.PF) writeCr2(w);
    else if (vector === Vector.DB) enterDebugException(cpu);
    if (deliverOnce(cpu, vector, EventKind.EXCEPTION, error, hasError, w[RIP]!, w[RIP + 1]!)) return;
    if (vector === Vector.DF) {
      if (!takenAsSecond(cpu)) shutDown(cpu);
      return;
    }
    const second = w[FAULT_VECTOR]!;
    if (isDoubleFault(vector, second)) {
      if (takenAsSecond(cpu)) return;
      if (second === Vector.PF) writeCr2(w);
      vector = Vector.DF;
      error = 0;
      hasError = true;
    } else {
      vector = second;
      error = w[FAULT_ERROR]!;
      hasError = w[FAULT_HAS_ERROR] !== 0;
    }
  }
}

/** Delivers an interrupt or NMI between two instructions; a fault on the way is delivered in its place. */
export function deliverInterrupt(cpu: Vcpu, vector: number, kind: EventKind): void {
  const w = cpu.w;
  if (deliverOnce(cpu, vector, kind, 0, false, w[RIP]!, w[RIP + 1]!)) return;
  deliverFault(cpu);
}

/**
 * Delivers any event as a hypervisor injects it: the error code, if any, is given, and software events return past an instruction of `length` bytes.
 * Faults on the way are delivered in its place, double faults included.
 */
export function injectEvent(cpu: Vcpu, vector: number, kind: EventKind, error: number, hasError: boolean, length: number): void {
  const w = cpu.w;
  const lo = (w[RIP]! + length) | 0;
  const hi = (w[RIP + 1]! + (lo >>> 0 < length ? 1 : 0)) | 0;
  if (deliverOnce(cpu, vector, kind, error, hasError, lo, hi)) return;
  if (kind === EventKind.EXCEPTION) {
    if (vector === Vector.DF || isDoubleFault(vector, w[FAULT_VECTOR]!)) {
      if (takenAsSecond(cpu)) return;
      if (vector === Vector.DF) return shutDown(cpu);
      if (w[FAULT_VECTOR] === Vector.PF) writeCr2(w);
      cpu.raise(Vector.DF, 0);
    }
  }
  deliverFault(cpu);
}

/** Executes a software interrupt (INT n, INT3, INTO, INT1) of `length` bytes: the frame returns past it, a fault on the way is its own. */
export function softwareInterrupt(cpu: Vcpu, vector: number, kind: EventKind, length: number): Outcome {
  const w = cpu.w;
  const lo = (w[RIP]! + length) | 0;
  const long = (w[MODE]! & Mode.LONG) !== 0;
  const hi = long ? (w[RIP + 1]! + (lo >>> 0 < length ? 1 : 0)) | 0 : 0;
  if (!deliverOnce(cpu, vector, kind, 0, false, lo, hi)) return Outcome.FAULT;
  // Delivery has cleared TF, and with it the single-step trap of this instruction.
  cpu.trapFlag = 0;
  return Outcome.JUMPED;
}
