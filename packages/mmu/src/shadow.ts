import type { PhysicalMemory } from '@nestvm/memory';
import type { GuestSpace } from './nested/guest-space.js';

/** The guest's own paging: a `Paging` value, CR3, the PDPTE registers (eight int32 words, low then high; under nested paging they are in memory). */
export interface GuestTables {
  readonly paging: number;
  readonly cr3: number;
  readonly pdptes?: readonly number[];
  /** EFER.NXE. */
  readonly noExecute?: boolean;
  /** CR4.PSE, for 32-bit paging. */
  readonly largePages?: boolean;
}

/** Two roots and a memory: all that a merged translation comes from. Without `nested`, guest-physical addresses are physical. */
export interface ShadowRoots {
  readonly memory: PhysicalMemory;
  readonly guest: GuestTables;
  readonly nested?: Pick<GuestSpace, 'stage' | 'root' | 'paging' | 'modes'>;
  /** Width of physical addresses in bits, 40 unless given. */
  readonly maxPhysicalAddress?: number;
  readonly pages1g?: boolean;
}

/** One entry that was read. */
export interface ShadowStep {
  readonly stage: 'guest' | 'nested';
  /** 5 (or the format's top) down to 1. */
  readonly level: number;
  /** Where the entry is: physical address. */
  readonly address: number;
  readonly entry: bigint;
  /** The guest-physical address that a nested entry translates; of a guest's entry, its own guest-physical address. */
  readonly guestPhysical: number;
}

/** A flag that the translation must set before it may be used: at every use, or only for writes. */
export interface ShadowDuty {
  readonly step: ShadowStep;
  readonly flag: 'accessed' | 'dirty';
  readonly when: 'always' | 'write';
}

/** What one kind of access may do. */
export interface ShadowRights {
  readonly read: boolean;
  readonly write: boolean;
  readonly execute: boolean;
}

/** The merged entry: what a TLB would hold. Rights are those under CR0.WP, without SMEP, SMAP and protection keys. */
export interface ShadowEntry {
  readonly physical: number;
  readonly guestPhysical: number;
  /** log2 of the page: the smaller of the two stages'. */
  readonly sizeShift: number;
  readonly guestSizeShift: number;
  readonly user: ShadowRights;
  readonly supervisor: ShadowRights;
}

/** A walk of both stages. */
export interface Shadow {
  readonly outcome: 'mapped' | 'guest-not-present' | 'guest-reserved' | 'nested-not-present' | 'nested-misconfigured';
  /** Every entry that was read, in order; when nothing is mapped, the last is why. */
  readonly steps: readonly ShadowStep[];
  readonly entry: ShadowEntry | undefined;
  readonly duties: readonly ShadowDuty[];
  /** What must drop the merged entry after a step of a stage has changed. */
  readonly droppedBy: { readonly guest: readonly string[]; readonly nested: readonly string[] };
}
