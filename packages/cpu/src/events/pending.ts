/** Bits of `pendingEvents` of the vCPU state: events that wait while they are blocked, or for the next VM entry. */
export const PendingEvent = { NMI: 1, SMI: 2, INIT: 4, MACHINE_CHECK: 8, MACHINE_CHECK_AT_ENTRY: 16 } as const;
