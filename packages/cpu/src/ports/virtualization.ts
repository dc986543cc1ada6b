import type { SensitiveEvent } from '@nestvm/isa';
import type { Vcpu } from '../vcpu.js';
import type { NestedLedger, NestedReport } from './ledger.js';

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

/** Places in the order of concurrent events (SDM Vol. 3, "Prioritization of Concurrent Events") at which an extension has events of its own. */
export const Place = {
  /** After SMI and INIT, before debug traps. */
  BEFORE_TRAPS: 0,
  /** After debug traps, before NMI. */
  BEFORE_NMI: 1,
  /** After NMI, before external interrupts. */
  BEFORE_INTERRUPT: 2,
} as const;
/** One of the values of {@link Place}. */
export type Place = (typeof Place)[keyof typeof Place];

/** How often guest mode was entered and left. */
export interface TransitionCounters {
  /** Completed entries (VM entries, VMRUNs). */
  entries: number;
  /** Entries that failed their checks. */
  failedEntries: number;
  /** Exits by a number of the extension's choice, which `exitName` names. */
  readonly exits: Float64Array;
}

/** What an extension did with a write of WRMSRLIST: nothing, all of it, or it recorded a fault. */
export const ListedWrite = { PLAIN: 0, DONE: 1, FAULT: 2 } as const;

/**
 * The hook that VMX and SVM plug into a CPU. While `guestMode` is 0 only `blocksInit`, `enterSmm`, `leaveSmm` and `reset` are asked.
 * A method that returns true has made the VM exit: the whole state is the host's, and the caller drops what it was doing.
 * What was being delivered when an exit interrupts the delivery of an event is in the vCPU's `vectoring` fields.
 */
export interface Virtualization {
  /**
   * Asked for each sensitive instruction after its privilege checks, with RIP at the instruction of `length` bytes (decoded: `cpu.instruction`). `number` is the
   * register, MSR index, port, leaf or vector; `write` the writing direction (MOV to CR or DR, WRMSR, OUT); `extra` the general register of MOV CR and MOV DR,
   * or the width in bytes of port I/O. INVLPG gives its address as `number` (low half) and `extra` (high half).
   */
  intercept(cpu: Vcpu, event: SensitiveEvent, length: number, number: number, write: boolean, extra: number): boolean;
  /** Asked before an exception of the guest is delivered; for #PF `slowAddress` of the state holds the address. */
  interceptException(cpu: Vcpu, vector: number, error: number, hasError: boolean, kind: EventKind): boolean;
  /** The second stage refused an access (EPT violation or misconfiguration, NPF): makes the VM exit, or delivers an exception in its place. */
  secondStageFault(cpu: Vcpu): void;
  /** Asked at an instruction boundary for a pending external interrupt, NMI, SMI, INIT or SIPI, before shutdown and before a task switch; true when the exit was made. */
  interceptEvent(cpu: Vcpu, event: 'INTR' | 'NMI' | 'SMI' | 'INIT' | 'SIPI' | 'SHUTDOWN' | 'TASK_SWITCH', detail: number): boolean;
  /** Whether external interrupts may be taken or intercepted now (VMX external-interrupt exiting and SVM V_INTR_MASKING do not ask RFLAGS.IF). */
  interruptsAllowed(cpu: Vcpu): boolean;
  /** Whether something of the extension's waits for the guest's RFLAGS.IF: an exit, a virtual interrupt. Asked whenever events are looked at. */
  awaitsInterruptFlag?(cpu: Vcpu): boolean;
  /** Bit of the bitmap at `msrBitmap` of the vCPU state that says whether a guest's RDMSR or WRMSR is intercepted; negative for none. Always the same. */
  msrBit?(index: number, write: boolean): number;
  /** Deals with the extension's own pending events at a place in the order of events; true when it made an exit or delivered something. */
  service?(cpu: Vcpu, place: Place): boolean;
  /** The same after external interrupts, when none was taken; `shadowed` behind STI, MOV SS and POP SS. */
  serviceGuest?(cpu: Vcpu, shadowed: boolean): boolean;
  /** Instructions run one at a time while true, and `completed` is told after each (monitor trap flag). Call `updateModeBits` after a change. */
  readonly singleStep?: boolean;
  completed?(cpu: Vcpu): void;
  /** Bits of `interruptibility` (`Shadow`) that hold NMIs off in guest mode, and those that IRET clears there; as outside of guest mode when left out. */
  readonly nmiBlockedBy?: number;
  readonly iretUnblocks?: number;
  /** Faults of the value that is written to a control register come before the intercept, those of LMSW's memory behind it (SVM); the other way round when left out. */
  readonly interceptsLast?: boolean;
  /** INIT stays pending outside of guest mode (VMX root operation). */
  readonly blocksInit?: boolean;
  /** Multiplies the TSC in `cpu.lo`/`cpu.hi` by the guest's ratio, before the offset is added. */
  scaleTsc?(cpu: Vcpu): void;
  /** SENDUIPI of `length` bytes sends a notification, `destination` as in NDST; true: the extension has dealt with it, and RIP is past the instruction (or an exit was made). */
  sendIpi?(cpu: Vcpu, length: number, vector: number, destination: number): boolean;
  /**
   * A register of RDMSRLIST or WRMSRLIST that is not intercepted, its value in `cpu.lo`/`cpu.hi`: whether the extension has read it; a `ListedWrite`. `leaveList`: the exit that
   * the write owes was made, behind the instruction of `length` bytes when the register was the `last`.
   */
  readListedMsr?(cpu: Vcpu, index: number): boolean;
  writeListedMsr?(cpu: Vcpu, index: number): number;
  leaveList?(cpu: Vcpu, length: number, last: boolean): boolean;
  /** The tag of the guest's translations (its ASID), when its hypervisor lets it execute INVLPGB and TLBSYNC; else -1. */
  broadcastTag?(): number;
  /** Nanoseconds in which the guest's TSC counts so many ticks, the ratio undone; not whole. */
  unscaleTicks?(ticks: number): number;
  /** Added to the TSC that the guest reads, as two int32 halves. */
  readonly tscOffsetLo: number;
  readonly tscOffsetHi: number;
  /**
   * An access of the guest to the APIC-access page (`mmu.apicAccess`), granted by paging: true when it may go on, at `mmu.physical`, which may have been changed; false when it is
   * refused: `secondStageFault` follows.
   */
  apicAccess?(cpu: Vcpu, bytes: number, access: number): boolean;
  /** What the guest sees of CR0 or CR4, into `cpu.lo`/`cpu.hi`, which hold the register; and what a write of `value` leaves in it. */
  visibleControl?(cpu: Vcpu, register: 0 | 4): void;
  mergedControl?(cpu: Vcpu, register: 0 | 4, value: number): number;
  /** An INIT that was not intercepted: true when an exception was delivered in its place (SVM, VM_CR.R_INIT). Asked outside of guest mode too. */
  redirectInit?(cpu: Vcpu): boolean;
  /** CR8 of the guest when the extension virtualizes it: 0-15, or -1 for the CPU's own. True: written. */
  readVirtualTpr?(cpu: Vcpu): number;
  writeVirtualTpr?(cpu: Vcpu, value: number): boolean;
  /** Around system-management mode: guest mode ends without an exit, and comes back. */
  enterSmm?(cpu: Vcpu): void;
  leaveSmm?(cpu: Vcpu): void;
  /** RESET: forget everything; the vCPU state is zero already. */
  reset?(cpu: Vcpu): void;
  /** The vCPU state was loaded from a snapshot, outside of guest mode: what was derived from it is void. */
  restored?(cpu: Vcpu): void;
  readonly counters: TransitionCounters;
  /** Name of an index of `counters.exits`. */
  exitName(reason: number): string;
  readonly ledger: NestedLedger;
  /** The extension is turned on: VMX operation, EFER.SVME. */
  readonly enabled: boolean;
  /** Judges every context of the ledger; call it between two instructions. `anywhere`: some vCPU of the machine has the extension turned on. */
  inspect(anywhere: boolean): readonly NestedReport[];
  /** Told about every entry that failed its checks, with what `explain` needs still in memory. */
  onFailedEntry: ((cpu: Vcpu) => void) | null;
  /** Told about every other instruction of the extension that was refused in the hypervisor; `explain` says why, and must be called at once. */
  onRefusal: ((cpu: Vcpu, explain: () => readonly string[]) => void) | null;
}
