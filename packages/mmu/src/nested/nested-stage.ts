import type { PhysicalMemory } from '@nestvm/memory';
import { Access } from '../access.js';
import { Paging } from '../context.js';
import { PageFault } from '../faults.js';
import { Rights } from '../guest/walk.js';
import { PlainStage, type PlainStageTables } from '../plain-walk.js';
import type { SecondStage } from '../second-stage.js';
import { EptEntry } from './ept.js';
import type { GuestSpace } from './guest-space.js';
import { createGuestSpace, SpaceMode, Stage } from './guest-space.js';
import { SubPage, subPagePermission } from './spp.js';
import { Allowed, StageCache } from './stage-cache.js';
import { EptQualification, StageFaultKind } from './stage-fault.js';
import { StageFaultRecord } from './stage-fault-record.js';
import { StageTables } from './stage-tables.js';
import type { StageWalk } from './stage-walk.js';
import { StageRight, StageWalked } from './stage-walk.js';
import { pageOf, StageWalker } from './stage-walker.js';

/** Tries before an entry that keeps changing (a device answering for a table) is taken as it is. */
const TRIES = 8;
const NPT_ACCESSED = 1 << 5;
const NPT_DIRTY = 1 << 6;
/** Bit 63 of an entry. */
const TOP = 1 << 31;

/** EPT or NPT in force: walks, checks, keeps flags, logs pages, notes faults, and caches guest-physical pages. */
export class NestedStage implements SecondStage {
  rights = 0;
  readonly fault = new StageFaultRecord();
  readonly cache = new StageCache();
  private readonly walker: StageWalker;
  private readonly walk: StageWalk;
  private readonly tables: StageTables;
  private readonly memory: PhysicalMemory;
  /** Told of each guest-physical page that is refused, which caches must forget. */
  onRefusal: (guestPage: number) => void = () => {};
  private space: GuestSpace = createGuestSpace();
  private generation = 0;
  private ept = false;
  /** Reads of guest tables count as writes: always under NPT, under EPT with accessed and dirty flags. */
  private tableWrites = false;
  private flags = false;
  /** Under guest-paging verification: every guest table used so far lies in a page with paging-write access. */
  private pagingWrite = true;

  constructor(memory: PhysicalMemory, maxPhysicalAddress: number) {
    this.memory = memory;
    this.tables = new StageTables(memory);
    this.walker = new StageWalker(this.tables, maxPhysicalAddress);
    this.walk = this.walker.walk;
  }

  /** Puts a space with EPT or NPT in force; `generation` is the one its cached pages carry. */
  enter(space: GuestSpace, generation: number): void {
    this.space = space;
    this.generation = generation;
    this.ept = space.stage === Stage.EPT;
    this.flags = !this.ept || (space.modes & SpaceMode.ACCESSED_DIRTY) !== 0;
    this.tableWrites = this.flags;
  }

  /** What generated code must know to walk these tables; a `kind` of `NONE` where it cannot. */
  get plain(): PlainStageTables {
    const { space, walker, ept } = this;
    const { paging, modes, root } = space;
    const isLong = paging === Paging.LEVEL4 || paging === Paging.LEVEL5;
    const isSpecial = (modes & (SpaceMode.MODE_BASED_EXECUTE | SpaceMode.PAGING_WRITE | SpaceMode.PAGING_VERIFY | SpaceMode.HLAT)) !== 0;
    const kind = ept ? (this.flags ? PlainStage.EPT_FLAGS : PlainStage.EPT) : PlainStage.NPT;
    const noExecute = !ept && (modes & SpaceMode.NX) === 0 ? TOP : 0;
    return {
      kind: isLong && !isSpecial ? kind : PlainStage.NONE,
      root: root - (root % 4096),
      isFiveLevel: paging === Paging.LEVEL5,
      reserved: walker.reservedHigh | noExecute,
      pages2m: !ept || (modes & SpaceMode.PAGES_2M) !== 0,
      pages1g: (modes & SpaceMode.PAGES_1G) !== 0,
    };
  }

  begin(): void {
    this.pagingWrite = true;
  }

  table(address: number, write: boolean): number {
    const page = pageOf(address);
    const { cache } = this;
    const allowed = cache.find(this.generation, page);
    if ((allowed & (write || this.tableWrites ? Allowed.TABLE_WRITE : Allowed.READ)) === 0) return this.resolveTable(address, write);
    if ((allowed & Allowed.PAGING_WRITE) === 0) this.pagingWrite = false;
    return cache.page * 4096 + (address & 0xfff);
  }

  access(address: number, type: number, linear: number): number {
    const { cache } = this;
    if ((linear & Rights.SHADOW_STACK) !== 0) return this.resolveFinal(address, type, linear);
    const allowed = cache.find(this.generation, pageOf(address));
    const needed = type === Access.READ ? Allowed.READ : type === Access.WRITE ? Allowed.WRITE : executeRight(linear);
    if ((allowed & needed) === 0 || ((allowed & Allowed.VERIFY) !== 0 && !this.pagingWrite)) return this.resolveFinal(address, type, linear);
    this.rights = allowed;
    return cache.page * 4096 + (address & 0xfff);
  }

  peek(address: number): number {
    return this.run(address) === StageWalked.MAPPED ? this.walk.page * 4096 + (address & 0xfff) : -1;
  }

  /** Whether faults of this stage are EPT's. */
  get reportsQualification(): boolean {
    return this.ept;
  }

  private run(address: number): number {
    return this.walker.run(this.space, address);
  }

  private resolveTable(address: number, write: boolean): number {
    const asWrite = write || this.tableWrites;
    for (let tries = 0; ; tries++) {
      const walked = this.run(address);
      if (walked !== StageWalked.MAPPED) return this.refuse(address, walked, true, write ? Access.WRITE : Access.READ);
      const { walk } = this;
      const granted = asWrite ? this.mayWriteTable() : (walk.rights & StageRight.READ) !== 0;
      if (!granted) return this.refuse(address, walked, true, write ? Access.WRITE : Access.READ);
      if (!this.mark(address, asWrite, tries)) {
        if (this.fault.kind === StageFaultKind.PAGE_LOG_FULL) return -1;
        continue;
      }
      const allowed = this.remember(address);
      if ((allowed & Allowed.PAGING_WRITE) === 0) this.pagingWrite = false;
      return walk.page * 4096 + (address & 0xfff);
    }
  }

  private resolveFinal(address: number, type: number, linear: number): number {
    this.fault.linear = linear;
    for (let tries = 0; ; tries++) {
      const walked = this.run(address);
      if (walked !== StageWalked.MAPPED) return this.refuse(address, walked, false, type);
      const { walk } = this;
      if (!this.grants(type, linear)) {
        const piece = type === Access.WRITE && !this.controlsShadowStack(linear) ? this.subPage(address) : SubPage.PROTECTED;
        if (piece === SubPage.PROTECTED) return this.refuse(address, walked, false, type);
        if (piece !== SubPage.WRITABLE) return this.refuseSubPage(address, piece);
      }
      if (!this.pagingWrite && this.verifies()) return this.refuseVerification(address, type);
      if (!this.mark(address, type === Access.WRITE, tries)) {
        if (this.fault.kind === StageFaultKind.PAGE_LOG_FULL) return -1;
        continue;
      }
      this.rights = this.remember(address);
      return walk.page * 4096 + (address & 0xfff);
    }
  }

  /** Whether bit 60 decides on an access: one of a supervisor shadow stack, under that control. */
  private controlsShadowStack(linear: number): boolean {
    const supervisor = (linear & (Rights.SHADOW_STACK | Rights.USER)) === Rights.SHADOW_STACK;
    return supervisor && this.ept && (this.space.modes & SpaceMode.SUPERVISOR_SHADOW_STACK) !== 0;
  }

  /**
   * What the walk grants to a final access. Pages of supervisor shadow stacks are readable in all entries, writable in all but the leaf, and have bit 60 there
   * (SDM Vol. 3, "EPT Violations").
   */
  private grants(type: number, linear: number): boolean {
    const { walk } = this;
    if (this.controlsShadowStack(linear))
      return (walk.rights & StageRight.READ) !== 0 && walk.writableAbove && (walk.lastHigh & EptEntry.HIGH_SHADOW_STACK) !== 0;
    const needed = type === Access.READ ? StageRight.READ : type === Access.WRITE ? StageRight.WRITE : executeRight(linear);
    return (walk.rights & needed) !== 0;
  }

  private mayWriteTable(): boolean {
    const { walk, space } = this;
    if ((walk.rights & StageRight.READ) === 0) return false;
    if ((walk.rights & StageRight.WRITE) !== 0) return true;
    return this.ept && (space.modes & SpaceMode.PAGING_WRITE) !== 0 && walk.writableAbove && (walk.lastHigh & EptEntry.HIGH_PAGING_WRITE) !== 0;
  }

  private verifies(): boolean {
    return this.ept && (this.space.modes & SpaceMode.PAGING_VERIFY) !== 0 && (this.walk.lastHigh & EptEntry.HIGH_VERIFY) !== 0;
  }

  /** What the sub-page-permission table says of a write that the entries refuse. */
  private subPage(address: number): number {
    const { walk, space } = this;
    const offered = this.ept && (space.modes & SpaceMode.SUB_PAGE_WRITE) !== 0 && walk.sizeShift === 12;
    if (!offered || !walk.writableAbove || (walk.lastHigh & EptEntry.HIGH_SUB_PAGE) === 0 || (walk.rights & StageRight.READ) === 0) {
      return SubPage.PROTECTED;
    }
    return subPagePermission(this.tables, space.sppTable, address | 0, Math.floor(address / 0x1_0000_0000), this.walker.reservedHigh);
  }

  /** Sets A, and D for a write, logging the page. False: walk again, or `PAGE_LOG_FULL` is noted. */
  private mark(address: number, write: boolean, tries: number): boolean {
    this.fault.kind = StageFaultKind.VIOLATION;
    if (!this.flags) return true;
    const { walk, space } = this;
    const dirty = write ? (this.ept ? EptEntry.DIRTY : NPT_DIRTY) : 0;
    const logs = this.ept && write && (space.modes & SpaceMode.PAGE_LOG) !== 0 && (walk.low[walk.depth - 1]! & EptEntry.DIRTY) === 0;
    if (logs && space.pmlIndex > 511) {
      this.fault.start(StageFaultKind.PAGE_LOG_FULL, address, false);
      return false;
    }
    if (!this.tables.mark(walk, this.ept ? EptEntry.ACCESSED : NPT_ACCESSED, dirty) && tries < TRIES) return false;
    if (logs) this.logPage(address);
    return true;
  }

  private logPage(address: number): void {
    const { space, memory } = this;
    const at = space.pmlAddress + space.pmlIndex * 8;
    memory.write32(at, (address & ~0xfff) >>> 0);
    memory.write32(at + 4, Math.floor(address / 0x1_0000_0000));
    space.pmlIndex = (space.pmlIndex - 1) & 0xffff;
  }

  /** Caches what the walk found, as far as no flag is left to set. */
  private remember(address: number): number {
    const { walk } = this;
    const dirty = !this.flags || (walk.low[walk.depth - 1]! & (this.ept ? EptEntry.DIRTY : NPT_DIRTY)) !== 0;
    let allowed = walk.rights & (Allowed.READ | Allowed.EXECUTE | Allowed.USER_EXECUTE);
    if (dirty) {
      allowed |= walk.rights & Allowed.WRITE;
      if (this.mayWriteTable()) allowed |= Allowed.TABLE_WRITE;
    }
    if (this.ept && (walk.lastHigh & EptEntry.HIGH_PAGING_WRITE) !== 0) allowed |= Allowed.PAGING_WRITE;
    if (this.verifies()) allowed |= Allowed.VERIFY;
    this.cache.put(this.generation, pageOf(address), walk.page, allowed, walk.sizeShift);
    return allowed;
  }

  private refuse(address: number, walked: number, tableWalk: boolean, type: number): number {
    const { fault, walk } = this;
    const misconfigured = walked === StageWalked.MISCONFIGURED;
    this.onRefusal(pageOf(address));
    fault.start(this.ept && misconfigured ? StageFaultKind.MISCONFIGURATION : StageFaultKind.VIOLATION, address, tableWalk);
    if (!this.ept) {
      fault.errorLow = PageFault.U;
      if (walked !== StageWalked.NOT_PRESENT) fault.errorLow |= PageFault.P;
      if (misconfigured) fault.errorLow |= PageFault.RSVD;
      if (tableWalk || type === Access.WRITE) fault.errorLow |= PageFault.W;
      if (!tableWalk && (fault.linear & Rights.SHADOW_STACK) !== 0) fault.errorLow |= PageFault.SS;
      if (type === Access.EXECUTE && this.space.paging >= Paging.PAE && (this.space.modes & SpaceMode.NX) !== 0) fault.errorLow |= PageFault.I;
      fault.errorHigh = tableWalk ? 2 : 1;
      return -1;
    }
    fault.advanced = (this.space.modes & SpaceMode.ADVANCED_INFORMATION) !== 0;
    fault.suppressVe = (walk.lastHigh & EptEntry.HIGH_SUPPRESS_VE) !== 0;
    if (!misconfigured) fault.qualification = this.qualify(walked, tableWalk, type);
    return -1;
  }

  private qualify(walked: number, tableWalk: boolean, type: number): number {
    let bits = 1 << type;
    if (tableWalk && this.tableWrites) bits |= EptQualification.READ | EptQualification.WRITE;
    if (!tableWalk && (this.fault.linear & Rights.SHADOW_STACK) !== 0) bits |= EptQualification.SHADOW_STACK;
    if (walked !== StageWalked.MAPPED) return bits;
    const { rights } = this.walk;
    bits |= (rights & 7) << 3;
    const controlled = (this.space.modes & SpaceMode.SUPERVISOR_SHADOW_STACK) !== 0;
    if (controlled && (this.walk.lastHigh & EptEntry.HIGH_SHADOW_STACK) !== 0) bits |= EptQualification.SHADOW_STACK_PAGE;
    const modeBased = (this.space.modes & SpaceMode.MODE_BASED_EXECUTE) !== 0;
    return modeBased && (rights & StageRight.USER_EXECUTE) !== 0 ? bits | EptQualification.USER_EXECUTABLE : bits;
  }

  private refuseSubPage(address: number, piece: number): number {
    this.fault.start(piece === SubPage.MISS ? StageFaultKind.SPP_MISS : StageFaultKind.SPP_MISCONFIGURATION, address, false);
    return -1;
  }

  private refuseVerification(address: number, type: number): number {
    this.refuse(address, StageWalked.MAPPED, false, type);
    this.fault.qualification |= EptQualification.PAGING_VERIFICATION;
    return -1;
  }
}

const executeRight = (linear: number): number => ((linear & Rights.USER) !== 0 ? StageRight.USER_EXECUTE : StageRight.EXECUTE);
