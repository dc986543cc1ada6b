import type { SensitiveEvent } from '@nestvm/isa';
import type { Vcpu } from '../vcpu.js';

/** What delivers an event: it decides the error code's EXT bit, privilege checks of gates, and which intercepts apply. */
export const EventKind = {
  /** External interrupt. */
  INTERRUPT: 0,
  NMI: 2,
  /** Fault, trap or abort raised by the processor. */
  EXCEPTION: 3,
  /** INT n. */
  SOFTWARE_INTERRUPT: 4,
  /** INT1 (ICEBP). */
  PRIVILEGED_SOFTWARE_EXCEPTION: 5,
  /** INT3 and INTO. */
  SOFTWARE_EXCEPTION: 6,
} as const;
/** One of the values of {@link EventKind}; they are the interruption types of VMX. */
export type EventKind = (typeof EventKind)[keyof typeof EventKind];

/**
 * The hook that VMX and SVM plug into a CPU. Nothing here is called while `guestMode` is 0.
 * A method that returns true has made the VM exit: the whole state is the host's, and the caller drops what it was doing.
 */
export interface Virtualization {
  /**
   * Asked for each sensitive instruction after its privilege checks, with RIP at the instruction of `length` bytes. `number` is the register, MSR index, port,
   * leaf or vector; `write` the writing direction (MOV to CR or DR, WRMSR, OUT); `extra` the general register of MOV CR and MOV DR, or the width in bytes of port I/O.
   */
  intercept(cpu: Vcpu, event: SensitiveEvent, length: number, number: number, write: boolean, extra: number): boolean;
  /** Asked before an exception of the guest is delivered; for #PF `slowAddress` of the state holds the address. */
  interceptException(cpu: Vcpu, vector: number, error: number, hasError: boolean, kind: EventKind): boolean;
  /** The second stage refused an access (EPT violation or misconfiguration, NPF): makes the VM exit. */
  secondStageFault(cpu: Vcpu): void;
  /** A fault while an event was being delivered ended in an exit or in a nested exception: keeps what was being delivered. */
  interruptedDelivery(cpu: Vcpu, vector: number, kind: EventKind, error: number, hasError: boolean, length: number): void;
  /** Asked at an instruction boundary for a pending external interrupt, NMI, SMI or INIT; true when the exit was made. */
  interceptEvent(cpu: Vcpu, event: 'INTR' | 'NMI' | 'SMI' | 'INIT' | 'SIPI' | 'SHUTDOWN' | 'TASK_SWITCH', detail: number): boolean;
  /** Whether RFLAGS.IF gates external interrupts now (VMX external-interrupt exiting and SVM V_INTR_MASKING say no). */
  interruptsAllowed(cpu: Vcpu): boolean;
  /** Added to the TSC that the guest reads, as two int32 halves. */
  readonly tscOffsetLo: number;
  readonly tscOffsetHi: number;
}
