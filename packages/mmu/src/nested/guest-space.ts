import { Paging } from '../context.js';

/** The second stage that a guest's physical addresses pass through. */
export const Stage = { NONE: 0, EPT: 1, NPT: 2 } as const;

/** Bits of `GuestSpace.modes`: controls that change what an entry of the second stage means, or what happens on the way. */
export const SpaceMode = {
  /** EPT: accessed and dirty flags (EPTP bit 6). NPT has them always. */
  ACCESSED_DIRTY: 1 << 0,
  /** EPT: entries may be execute-only (IA32_VMX_EPT_VPID_CAP bit 0); without it R=0 X=1 is a misconfiguration. */
  EXECUTE_ONLY: 1 << 1,
  /** EPT: mode-based execute control: bit 2 counts for supervisor-mode, bit 10 for user-mode linear addresses. */
  MODE_BASED_EXECUTE: 1 << 2,
  /** EPT: sub-page write permissions, with `sppTable`. */
  SUB_PAGE_WRITE: 1 << 3,
  /** EPT: page-modification log, with `pmlAddress` and `pmlIndex`. */
  PAGE_LOG: 1 << 4,
  /** EPT: paging-write control (bit 58 of a leaf lets A and D updates of guest tables pass). */
  PAGING_WRITE: 1 << 5,
  /** EPT: guest-paging verification (bit 57 of a leaf demands bit 58 of the pages of all guest tables used). */
  PAGING_VERIFY: 1 << 6,
  /** Linear addresses under `hlatPrefix` are translated from `hlatRoot` (hypervisor-managed linear-address translation). */
  HLAT: 1 << 7,
  /** EPT: the violation's qualification has bits 9 to 11 ("advanced VM-exit information", IA32_VMX_EPT_VPID_CAP bit 22). */
  ADVANCED_INFORMATION: 1 << 8,
  /** NPT: EFER.NXE of the host. */
  NX: 1 << 9,
  /** NPT in 32-bit format: CR4.PSE of the host. */
  PSE: 1 << 10,
  /** NPT: 1 GiB pages; EPT: the same (IA32_VMX_EPT_VPID_CAP bit 17). */
  PAGES_1G: 1 << 11,
  /** EPT: entries may map 2 MiB pages (IA32_VMX_EPT_VPID_CAP bit 16). */
  PAGES_2M: 1 << 12,
  /** EPT: supervisor shadow-stack control (EPTP bit 7): supervisor shadow stacks lie in pages whose leaf has bit 60, and in no others. */
  SUPERVISOR_SHADOW_STACK: 1 << 13,
} as const;

/**
 * An address space of guest mode, as VMX and SVM describe it to `Mmu.enterGuest`. Make one for each vCPU with `createGuestSpace`, write its fields before
 * each entry, and hand in the same object: the MMU recognizes the values, not the object. Addresses are physical, below 2^52.
 */
export interface GuestSpace {
  /** VPID or ASID. 0: shares its tag with the host; the caller then owes `invalidateTag(0)` at entry and at exit (VMX without VPIDs). */
  tag: number;
  /** A `Stage`. */
  stage: number;
  /** First table of the second stage: EPTP bits 51:12, or nCR3 without its low bits (PAE: without bits 4:0). */
  root: number;
  /** Format of the second stage: EPT `LEVEL4` or `LEVEL5`; NPT the host's `pagingMode`, `LEGACY32` to `LEVEL5`. */
  paging: number;
  /** `SpaceMode` bits. */
  modes: number;
  /** Physical page number (address >>> 12 as a number) of the APIC-access page, -1 without one: never cached, see `Mmu.apicAccess`. */
  apicAccessPage: number;
  /** The same by guest-physical page, before the second stage (AVIC); -1 without one. The page passes the second stage like any other. */
  apicGuestPage: number;
  /** Physical address of the sub-page-permission table's root (SPPTP). */
  sppTable: number;
  /** Physical address of the 4-KiB page-modification log, and the index of its next entry; the MMU counts it down: write it back at VM exit. */
  pmlAddress: number;
  pmlIndex: number;
  /** Guest-physical address of HLAT's first table, and how many linear-address bits the prefix has. */
  hlatRoot: number;
  hlatPrefix: number;
}

/** A space without tag, second stage and controls: fill in what differs. */
export function createGuestSpace(): GuestSpace {
  return {
    tag: 0,
    stage: Stage.NONE,
    root: 0,
    paging: Paging.NONE,
    modes: 0,
    apicAccessPage: -1,
    apicGuestPage: -1,
    sppTable: 0,
    pmlAddress: 0,
    pmlIndex: 0,
    hlatRoot: 0,
    hlatPrefix: 0,
  };
}
