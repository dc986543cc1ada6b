/**
 * Guest walks, nested walks, combined translations, the tagged TLB.
 *
 * @packageDocumentation
 */
export { Mmu } from './mmu.js';
export { TranslationFault } from './options.js';
export type { MmuOptions } from './options.js';
export { Access } from './access.js';
export { PageFault } from './faults.js';
export { Context, Paging, pagingMode } from './context.js';
export {
  SECOND_TLB_ENTRIES,
  secondTlbOffset,
  TRAPPING,
  TLB_BANK_BYTES,
  TLB_ENTRIES,
  TLB_ENTRY_BYTES,
  TLB_TABLE_BYTES,
  TlbEntry,
  TlbTable,
} from './tlb/layout.js';
export { GROUP_PCIDS, TLB_BANK_STRUCT_BYTES, tlbBank } from './tlb/bank.js';
export { JOURNAL_FILLS, JOURNAL_REGION_WORDS, Journal } from './tlb/journal.js';
export { RegionHash } from './tlb/large-pages.js';
export { PlainStage, plainWalk } from './plain-walk.js';
export { Entry, Rights } from './guest/walk.js';
export { StageRights } from './second-stage.js';
export type { SecondStage } from './second-stage.js';
export { combine, formatShadow } from './combine.js';
export type { GuestTables, Shadow, ShadowDuty, ShadowEntry, ShadowRights, ShadowRoots, ShadowStep } from './shadow.js';
export { formatStale } from './sanitizer.js';
export type { SanitizerOptions, StaleTranslation } from './sanitizer.js';
export { createGuestSpace, SpaceMode, Stage } from './nested/guest-space.js';
export type { GuestSpace } from './nested/guest-space.js';
export { EptQualification, StageFaultKind } from './nested/stage-fault.js';
export type { StageFault } from './nested/stage-fault.js';
export { effectiveType, MemoryType, mtrrType, patType } from './memory-type.js';
export type { Mtrrs } from './memory-type.js';
export { LinearWatches } from './linear-watches.js';
export { mmuState } from './state.js';
export { MmuError } from './errors.js';
export type { MmuErrorCode } from './errors.js';
