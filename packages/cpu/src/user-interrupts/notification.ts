import { Cr4, Efer } from '@nestvm/isa';
import { deliverFault } from '../events/deliver.js';
import { endPhysicalInterrupt } from '../events/own-apic.js';
import { EventKind } from '../ports/virtualization.js';
import type { Vcpu } from '../vcpu.js';
import { CR4, EFER, GUEST_MODE, UINTR_DESCRIPTOR, UINTR_MISC, UINTR_REQUESTS } from '../words.js';

/** Bit 0 of a user posted-interrupt descriptor: outstanding notification. */
const OUTSTANDING = 1;
const VALID = 1 << 31;

/** Whether an interrupt that was acknowledged is the notification of user interrupts (SDM Vol. 3, "User-Interrupt Notification Identification"). */
export const isUserNotification = ({ w }: Vcpu, vector: number): boolean =>
  (w[CR4]! & Cr4.UINTR) !== 0 && (w[EFER]! & Efer.LMA) !== 0 && vector === w[UINTR_MISC + 1]!;

/** Moves the requests of the descriptor to UIRR; false when a fault was recorded and nothing has changed. */
function takeRequests({ w, tables }: Vcpu): boolean {
  const lo = w[UINTR_DESCRIPTOR]!;
  const hi = w[UINTR_DESCRIPTOR + 1]!;
  if (!tables.read64(lo, hi, false)) return false;
  if (!tables.write64(lo, hi, tables.lo & ~OUTSTANDING, tables.hi, false)) return false;
  // The descriptor is 64 bytes aligned: what is true for its first half is true for the second.
  if (!tables.read64(lo + 8, hi, false)) return false;
  w[UINTR_REQUESTS] = w[UINTR_REQUESTS]! | tables.lo;
  w[UINTR_REQUESTS + 1] = w[UINTR_REQUESTS + 1]! | tables.hi;
  return tables.write64(lo + 8, hi, 0, 0, false);
}

/** User-interrupt notification processing. A fault is delivered in its place, and an exit that it makes names the interrupt as the event that it came from. */
export function processNotification(cpu: Vcpu): void {
  if (cpu.w[GUEST_MODE] !== 0) cpu.vectoring = VALID | (EventKind.INTERRUPT << 8) | cpu.w[UINTR_MISC + 1]!;
  if (!takeRequests(cpu)) return deliverFault(cpu);
  cpu.vectoring = 0;
}

/** An external interrupt that is the notification: ends it at the local APIC, and takes the requests. */
export function takeUserNotification(cpu: Vcpu): void {
  endPhysicalInterrupt(cpu);
  processNotification(cpu);
}
