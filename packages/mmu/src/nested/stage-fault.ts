/** What the second stage found. */
export const StageFaultKind = {
  /** EPT violation, or a nested page fault. */
  VIOLATION: 0,
  /** EPT misconfiguration. */
  MISCONFIGURATION: 1,
  /** The page-modification log has no room: VM exit "page-modification log full", before the access. */
  PAGE_LOG_FULL: 2,
  /** The sub-page-permission table has no entry for a page (SPP miss), or one with reserved bits (SPP misconfiguration). */
  SPP_MISS: 3,
  SPP_MISCONFIGURATION: 4,
} as const;

/** Bits of an EPT violation's exit qualification (SDM Vol. 3, "Exit Qualification for EPT Violations"). NMI unblocking (bit 12) is the caller's. */
export const EptQualification = {
  READ: 1 << 0,
  WRITE: 1 << 1,
  FETCH: 1 << 2,
  READABLE: 1 << 3,
  WRITABLE: 1 << 4,
  EXECUTABLE: 1 << 5,
  USER_EXECUTABLE: 1 << 6,
  LINEAR_VALID: 1 << 7,
  /** The access itself, not one to a guest table on the way. */
  FINAL: 1 << 8,
  USER_LINEAR: 1 << 9,
  WRITABLE_LINEAR: 1 << 10,
  EXECUTE_DISABLE_LINEAR: 1 << 11,
  SHADOW_STACK: 1 << 13,
  /** Bit 60 of the entry that maps the page, under supervisor shadow-stack control. */
  SHADOW_STACK_PAGE: 1 << 14,
  PAGING_VERIFICATION: 1 << 15,
} as const;

/** Why the second stage refused the last access; one object for each MMU, written over by each refusal. */
export interface StageFault {
  /** A `StageFaultKind`. */
  readonly kind: number;
  /** Guest-physical address, below 2^52; exact to the byte for the final access, and that of the entry for a guest table. */
  readonly guestPhysical: number;
  /** The linear address that was being translated, int32 halves; not valid for loads of PDPTE registers. */
  readonly linearLo: number;
  readonly linearHi: number;
  readonly linearValid: boolean;
  /** An access to a guest table, not the final one. */
  readonly tableWalk: boolean;
  /** EPT: the exit qualification of a violation. NPT: 0. */
  readonly qualification: number;
  /** NPT: EXITINFO1 of the nested page fault: the page-fault error code, and in `errorHigh` bit 0 (EXITINFO1 bit 32: final) or bit 1 (bit 33: guest table). */
  readonly errorLow: number;
  readonly errorHigh: number;
  /** EPT: bit 63 (suppress #VE) of the entry that decided; false: the violation may become a #VE. */
  readonly suppressVe: boolean;
}
