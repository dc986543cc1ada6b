/**
 * Kinds of access to memory, as paging tells them apart; IMPLICIT is added for descriptor tables and TSS, where RFLAGS.AC does not lift SMAP, SHADOW_STACK for reads and
 * writes of a shadow stack.
 */
export const Access = { READ: 0, WRITE: 1, EXECUTE: 2, IMPLICIT: 4, SHADOW_STACK: 8 } as const;

/** `Translation.fault` when the second stage (EPT, NPT) refused the access: a VM exit, not a #PF. */
export const SECOND_STAGE_FAULT = 2;

/** What a CPU asks of its MMU. `Mmu` of `@nestvm/mmu` has this shape. */
export interface Translation {
  /** Result of the last successful `translate`: a guest-physical address below 2^52. */
  readonly physical: number;
  /** Arena offset of that byte when it is RAM or ROM, -1 for devices and holes. */
  readonly arenaOffset: number;
  /** #PF error code of the last failed `translate`. */
  readonly errorCode: number;
  /** Why the last `translate` failed: 1 page fault, 2 second stage. */
  readonly fault: number;
  /** After a successful `translate`: the page is the APIC-access page of guest mode, and the hypervisor extension is to be asked. */
  readonly apicAccess?: boolean;
  /** Linear pages that must always miss in the TLB, for data breakpoints. */
  readonly watches: { arm(slot: number, lo: number, hi: number): void; disarm(slot: number): void };
  /** Translates one linear address in the current mode; the caller has checked that it is canonical. `user`: judged as made from CPL 3. */
  translate(lo: number, hi: number, access: number, user: boolean): boolean;
  /** Whether a MOV to CR3 whose value has this high half sets no reserved bit. */
  isCr3Allowed(hi: number): boolean;
  /** MOV to CR3: false when reserved bits are set (#GP), nothing changed then. */
  writeCr3(lo: number, hi: number): boolean;
  /** Loads the PDPTE registers from CR3; false when reserved bits are set (#GP). */
  loadPdptes(): boolean;
  invalidatePage(lo: number, hi: number): void;
  flushAll(): void;
  /** RESET: forgets every address space, whatever its VPID or ASID. */
  forgetEverything(): void;
  /** Forgets the translations of a VPID or ASID, 0 outside of guest mode: one page, all; or those of every one. */
  invalidateTagPage(tag: number, lo: number, hi: number): void;
  invalidateTag(tag: number): void;
  invalidateAllTags(includingZero: boolean): void;
  invpcid(type: number, pcid: number, lo: number, hi: number): void;
  /** CR0, CR4, EFER, CPL, AC or PKRU changed: puts the right TLB bank in force, and flushes what the change owes. */
  setContext(): void;
}

/** Guest-physical memory as a CPU sees it: RAM, ROM, devices and holes alike. */
export interface PhysicalAccess {
  read8(address: number): number;
  read16(address: number): number;
  read32(address: number): number;
  write8(address: number, value: number): void;
  write16(address: number, value: number): void;
  write32(address: number, value: number): void;
  /** Fills `target`; bytes of devices are read one by one. */
  read(address: number, target: Uint8Array): void;
  /** Stores `source`, likewise. */
  write(address: number, source: Uint8Array): void;
}
