import { Cr4, Rflags, Vector } from '@nestvm/isa';
import { Shadow } from '../mode.js';
import { EventKind, Place } from '../ports/virtualization.js';
import { initialize, startUp } from '../reset.js';
import { deliverUserInterrupt } from '../user-interrupts/delivery.js';
import { isUserNotification, takeUserNotification } from '../user-interrupts/notification.js';
import type { Vcpu } from '../vcpu.js';
import { ACTIVITY, CR4, GUEST_MODE, INTERRUPTIBILITY, PENDING_DEBUG, PENDING_EVENTS, RFLAGS, SMM, word } from '../words.js';
import { Activity, deliverFault, deliverInterrupt, shutDown } from './deliver.js';
import { isMonitorTriggered, Monitor } from './monitor.js';
import { PendingEvent } from './pending.js';
import { enterSmm } from './smm.js';

const MONITOR_ARMED = word('monitorArmed');
const INTERRUPT_HELD = word('interruptHeld');
const EVENT_HELD = word('eventHeld');

const NMI_BLOCKED_BY = Shadow.NMI | Shadow.MOV_SS | Shadow.STI;

/** Moves what the interrupt source has latched into the vCPU state, where it waits while blocked. */
function collect(cpu: Vcpu): number {
  const { w, interrupts } = cpu;
  let pending = w[PENDING_EVENTS]!;
  if (interrupts.takeNmi()) pending |= PendingEvent.NMI;
  if (interrupts.takeSmi()) pending |= PendingEvent.SMI;
  if (interrupts.takeInit()) pending |= PendingEvent.INIT;
  w[PENDING_EVENTS] = pending;
  return pending;
}

function wake(cpu: Vcpu): void {
  cpu.w[ACTIVITY] = Activity.ACTIVE;
  if ((cpu.w[MONITOR_ARMED]! & Monitor.TIMED) !== 0) cpu.timedWait.end();
  cpu.w[MONITOR_ARMED] = 0;
}

/** Asks the hypervisor extension; true: it made a VM exit for the event. */
function taken(cpu: Vcpu, event: 'INTR' | 'NMI' | 'SMI' | 'INIT' | 'SIPI'): boolean {
  return cpu.w[GUEST_MODE] !== 0 && cpu.virtualization?.interceptEvent(cpu, event, 0) === true;
}

/** Lets the extension deal with its own events; see {@link Place}. */
function extensionService(cpu: Vcpu, place: Place): boolean {
  return cpu.w[GUEST_MODE] !== 0 && cpu.virtualization?.service?.(cpu, place) === true;
}

function serviceSipi(cpu: Vcpu): boolean {
  const vector = cpu.interrupts.takeSipi();
  if (vector < 0 || cpu.w[ACTIVITY] !== Activity.WAIT_FOR_SIPI) return false;
  if (cpu.w[GUEST_MODE] !== 0 && cpu.virtualization?.interceptEvent(cpu, 'SIPI', vector) === true) return true;
  startUp(cpu, vector);
  return true;
}

function serviceMachineCheck(cpu: Vcpu, pending: number): boolean {
  const { w } = cpu;
  if ((pending & PendingEvent.MACHINE_CHECK) === 0 || w[ACTIVITY] === Activity.SHUTDOWN || w[ACTIVITY] === Activity.WAIT_FOR_SIPI) return false;
  w[PENDING_EVENTS] = pending & ~PendingEvent.MACHINE_CHECK;
  if ((w[CR4]! & Cr4.MCE) === 0) {
    shutDown(cpu);
    return true;
  }
  wake(cpu);
  cpu.raise(Vector.MC);
  deliverFault(cpu);
  return true;
}

/** SMI and INIT: the external events that nothing but SMM (and wait-for-SIPI) holds off. */
function serviceSmiOrInit(cpu: Vcpu, pending: number): boolean {
  const w = cpu.w;
  if (w[SMM] !== 0) return false;
  if ((pending & PendingEvent.SMI) !== 0 && w[ACTIVITY] !== Activity.WAIT_FOR_SIPI) {
    w[PENDING_EVENTS] = pending & ~PendingEvent.SMI;
    if (taken(cpu, 'SMI')) return true;
    enterSmm(cpu);
    return true;
  }
  if ((pending & PendingEvent.INIT) !== 0 && (w[GUEST_MODE] !== 0 || cpu.virtualization?.blocksInit !== true)) {
    w[PENDING_EVENTS] = pending & ~PendingEvent.INIT;
    if (taken(cpu, 'INIT') || cpu.virtualization?.redirectInit?.(cpu) === true) return true;
    initialize(cpu);
    return true;
  }
  return false;
}

function serviceNmi(cpu: Vcpu, pending: number): boolean {
  const w = cpu.w;
  if ((pending & PendingEvent.NMI) === 0) return false;
  const blockedBy = w[GUEST_MODE] !== 0 ? (cpu.virtualization?.nmiBlockedBy ?? NMI_BLOCKED_BY) : NMI_BLOCKED_BY;
  if ((w[INTERRUPTIBILITY]! & blockedBy) !== 0) return false;
  if (w[ACTIVITY] === Activity.WAIT_FOR_SIPI) return false;
  w[PENDING_EVENTS] = pending & ~PendingEvent.NMI;
  if (taken(cpu, 'NMI')) return true;
  wake(cpu);
  w[INTERRUPTIBILITY] = w[INTERRUPTIBILITY]! | Shadow.NMI;
  deliverInterrupt(cpu, Vector.NMI, EventKind.NMI);
  return true;
}

function serviceInterrupt(cpu: Vcpu): boolean {
  const w = cpu.w;
  const activity = w[ACTIVITY]!;
  if (activity === Activity.SHUTDOWN || activity === Activity.WAIT_FOR_SIPI) return false;
  const guest = w[GUEST_MODE] !== 0 ? cpu.virtualization : null;
  const allowed = guest !== null ? guest.interruptsAllowed(cpu) : (w[RFLAGS]! & Rflags.IF) !== 0;
  const awaited = guest !== null && guest.awaitsInterruptFlag?.(cpu) === true;
  w[INTERRUPT_HELD] = awaited || (!allowed && cpu.interrupts.intr()) ? 1 : 0;
  if ((w[INTERRUPTIBILITY]! & (Shadow.STI | Shadow.MOV_SS)) !== 0) return false;
  if (!allowed) {
    if (activity !== Activity.MWAIT || (w[MONITOR_ARMED]! & Monitor.BREAK_ON_INTERRUPT) === 0 || !cpu.interrupts.intr()) return false;
    wake(cpu);
    return true;
  }
  if (!cpu.interrupts.intr()) return false;
  if (taken(cpu, 'INTR')) return true;
  const vector = cpu.interrupts.acknowledge();
  if (isUserNotification(cpu, vector)) {
    // A halted processor stays so: the requests are for a program that does not run.
    if (activity !== Activity.HLT) wake(cpu);
    takeUserNotification(cpu);
    return true;
  }
  wake(cpu);
  deliverInterrupt(cpu, vector, EventKind.INTERRUPT);
  return true;
}

/** What the hypervisor extension has pending for its guest. */
function serviceGuest(cpu: Vcpu): boolean {
  const { w, virtualization } = cpu;
  if (w[GUEST_MODE] === 0 || virtualization?.serviceGuest === undefined) return false;
  return virtualization.serviceGuest(cpu, (w[INTERRUPTIBILITY]! & (Shadow.STI | Shadow.MOV_SS)) !== 0);
}

function serviceDebugTrap(cpu: Vcpu): boolean {
  const w = cpu.w;
  if (w[PENDING_DEBUG] === 0 || (w[INTERRUPTIBILITY]! & Shadow.MOV_SS) !== 0) return false;
  if (w[ACTIVITY] === Activity.SHUTDOWN || w[ACTIVITY] === Activity.WAIT_FOR_SIPI) return false;
  wake(cpu);
  cpu.raise(Vector.DB);
  deliverFault(cpu);
  return true;
}

/** While GIF is clear: notes whether STGI will have something to do. A SIPI does not wait: it means nothing to a processor that runs. */
function hold(cpu: Vcpu): void {
  const { w, interrupts } = cpu;
  if (w[ACTIVITY] !== Activity.WAIT_FOR_SIPI) interrupts.takeSipi();
  w[EVENT_HELD] = collect(cpu) !== 0 || w[PENDING_DEBUG] !== 0 || interrupts.intr() ? 1 : 0;
}

/** Ends a wait whose line was written or whose time is over. */
function serviceMonitor(cpu: Vcpu): void {
  if (cpu.w[ACTIVITY] !== Activity.MWAIT) return;
  // Nothing tells of stores to the monitored line, so every turn of this vCPU looks again.
  cpu.attention = 1;
  const armed = cpu.w[MONITOR_ARMED]!;
  if ((armed & Monitor.ARMED) !== 0 && isMonitorTriggered(cpu)) wake(cpu);
  else if (cpu.timedWait.expire()) wake(cpu);
}

/**
 * Looks at what is pending between two instructions and delivers the one with the highest priority
 * (SDM Vol. 3, "Prioritization of Concurrent Events"): machine checks, SMI, INIT, SIPI (which may already wait behind its INIT), debug traps, NMI, maskable interrupt.
 * Returns true when something was delivered or the activity changed; `attention` then stays set, since more may wait.
 */
export function serviceEvents(cpu: Vcpu): boolean {
  cpu.attention = 0;
  // STGI asks for attention again. What ends a wait is no event: KVM waits by TPAUSE before VMRUN, with GIF clear.
  if ((cpu.w[INTERRUPTIBILITY]! & Shadow.GIF) !== 0) {
    hold(cpu);
    if (serviceDebugTrap(cpu)) return true;
    serviceMonitor(cpu);
    return false;
  }
  const pending = collect(cpu);
  const done =
    (pending !== 0 && (serviceMachineCheck(cpu, pending) || serviceSmiOrInit(cpu, pending))) ||
    serviceSipi(cpu) ||
    extensionService(cpu, Place.BEFORE_TRAPS) ||
    serviceDebugTrap(cpu) ||
    extensionService(cpu, Place.BEFORE_NMI) ||
    (pending !== 0 && serviceNmi(cpu, cpu.w[PENDING_EVENTS]!)) ||
    extensionService(cpu, Place.BEFORE_INTERRUPT) ||
    serviceInterrupt(cpu) ||
    serviceGuest(cpu) ||
    deliverUserInterrupt(cpu);
  if (done) cpu.attention = 1;
  else serviceMonitor(cpu);
  return done;
}
