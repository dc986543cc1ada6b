import { Cr4, Efer } from '@nestvm/isa';
import type { PhysicalMemory } from '@nestvm/memory';
import { PAGE_BYTES, PageFlag, WRITE_TRAP } from '@nestvm/memory';
import type { Stateful } from '@nestvm/state';
import { structState } from '@nestvm/state';
import { Access } from './access.js';
import { Context, Paging, packContext } from './context.js';
import { controlsOweFlush } from './control-changes.js';
import { MmuError } from './errors.js';
import { PageFault, pageFaultCode } from './faults.js';
import { withoutA20 } from './guest/tables.js';
import { Walked } from './guest/walk.js';
import { GuestWalker } from './guest/walker.js';
import { LinearWatches } from './linear-watches.js';
import type { MmuOptions } from './options.js';
import { TranslationFault } from './options.js';
import { memoryTypeAt } from './page-memory-type.js';
import { Denied, denies } from './permission.js';
import { A20_MASK, CPL, CR0, CR3, CR4, EFER, PKRS, PKRU, RFLAGS, TLB_EXEC, TLB_READ, TLB_WRITE } from './registers.js';
import type { SecondStage } from './second-stage.js';
import { StageRights } from './second-stage.js';
import { mmuState } from './state.js';
import { TLB_TABLE_BYTES, TlbTable } from './tlb/layout.js';
import { TlbPool } from './tlb/pool.js';

/**
 * Address translation of one vCPU: walks the guest's tables, checks rights, keeps A and D flags, and fills the TLB that generated code reads.
 * Call `setContext` after every change of CR0, CR3, CR4, EFER, CPL, EFLAGS.AC, PKRU, PKRS or the A20 mask in the vCPU state.
 */
export class Mmu {
  /** After `translate` said true: the guest-physical address. */
  physical = 0;
  /** After `translate` said true: arena offset of RAM or ROM, -1 for a device or nothing. */
  arenaOffset = -1;
  /** After `translate` said false with `PAGE_FAULT`: the error code. */
  errorCode = 0;
  /** Why `translate` said false: a `TranslationFault`. */
  fault: number = TranslationFault.NONE;
  /** Arena offset of the `mmuState` struct. */
  readonly stateBase: number;
  /** What a snapshot keeps: the PDPTE registers. Load it after the vCPU state; caches are dropped then. */
  readonly state: Stateful;
  /** Linear pages that always miss: data breakpoints. */
  readonly watches: LinearWatches;

  private readonly memory: PhysicalMemory;
  private readonly i32: Int32Array;
  /** First word of the vCPU state in `i32`. */
  private readonly words: number;
  private readonly pool: TlbPool;
  private readonly walker: GuestWalker;
  private readonly cr3Reserved: number;
  /** The mode in force: a `Context` word, PKRU, PKRS; and the control registers it was made from. */
  private context = 0;
  private pkru = 0;
  private pkrs = 0;
  private space = 0;
  private cr0 = 0;
  private cr4 = 0;

  constructor(options: MmuOptions) {
    const { memory, vcpuBase, maxPhysicalAddress = 40, pages1g = true, banks = 16 } = options;
    if (!(maxPhysicalAddress >= 32 && maxPhysicalAddress <= 52)) {
      throw new MmuError('bad-option', `mmu: maxPhysicalAddress is ${maxPhysicalAddress}; give 32 to 52 bits`);
    }
    if (!(banks >= 2 && banks <= 64)) throw new MmuError('bad-option', `mmu: ${banks} TLB banks; give 2 to 64`);
    const { arena } = memory;
    this.memory = memory;
    this.i32 = arena.i32;
    this.words = vcpuBase / 4;
    this.stateBase = arena.allocate('mmu state', mmuState.size);
    this.state = structState(mmuState, arena.memory.buffer, this.stateBase, () => this.reset());
    this.pool = new TlbPool(arena, 'tlb', banks);
    this.watches = new LinearWatches((lo, hi) => this.pool.invalidatePage(lo, hi, 0, 0));
    this.walker = new GuestWalker({ memory, vcpuBase, pdpteBase: this.stateBase + mmuState.offset.pdpte, maxPhysicalAddress, pages1g });
    this.cr3Reserved = maxPhysicalAddress >= 52 ? 0x7ff0_0000 : 0x7fff_ffff & ~((1 << (maxPhysicalAddress - 32)) - 1);
    memory.observe({ mapChanged: () => this.forgetEverything(), writeAccessRevoked: (page) => this.pool.dropWrites(page) });
    this.setContext();
  }

  /** The second stage in force, or null. Whoever changes it also owes the invalidations of its architecture. */
  get secondStage(): SecondStage | null {
    return this.walker.tables.secondStage;
  }

  set secondStage(stage: SecondStage | null) {
    this.walker.tables.secondStage = stage;
  }

  /**
   * Translates one linear address (int32 or uint32 halves; canonical, which the caller checks). `access` is an `Access` value;
   * `user` is true for a user-mode access (CPL 3 and not implicit). True: `physical` and `arenaOffset` are set and the TLB is filled where that is legal.
   * False: `fault` says why; for a page fault `errorCode` is set, and the caller raises it with CR2 = the address.
   */
  translate(lo: number, hi: number, access: number, user: boolean): boolean {
    const { walker, context } = this;
    for (;;) {
      const walked = walker.run(lo, hi, context);
      if (walked !== Walked.MAPPED) return this.refuseWalk(lo, hi, access, user, walked);
      const denied = this.denial(access, user);
      if (denied !== Denied.NO) return this.pageFault(lo, hi, access, user, denied === Denied.BY_KEY ? PageFault.P | PageFault.PK : PageFault.P);
      const page = this.finalPage(walker.walk.page, access);
      if (page < 0) return this.secondStageFault();
      const marked = walker.markUsed((access & Access.TYPE) === Access.WRITE);
      if (marked < 0) return this.secondStageFault();
      if (marked > 0) return this.succeed(lo | 0, hi | 0, page, access, user);
    }
  }

  /** Where a linear address leads, whatever the rights, with no trace in tables or TLB: for debuggers. -1 when unmapped. */
  peek(lo: number, hi: number): number {
    if (this.walker.run(lo, hi, this.context) !== Walked.MAPPED) return -1;
    const page = this.finalPage(this.walker.walk.page, Access.READ);
    return page < 0 ? -1 : page * PAGE_BYTES + (lo & 0xfff);
  }

  /**
   * Puts the bank of the current mode in force and stores its tables in the vCPU state. Pays what a change of CR0 or CR4 owes;
   * a change of CR3 is `writeCr3`'s. Cheap: called at every change of CPL.
   */
  setContext(): void {
    const { i32, words } = this;
    const cr0 = i32[words + CR0]!;
    const cr4 = i32[words + CR4]!;
    if (cr0 !== this.cr0 || cr4 !== this.cr4) this.controlsChanged(cr0, cr4);
    const context =
      packContext(cr0, i32[words + CR3]!, cr4, i32[words + EFER]!, i32[words + RFLAGS]!, i32[words + CPL]!, i32[words + A20_MASK]!) | this.space;
    this.context = context;
    this.walker.tables.a20Closed = (context & Context.A20_CLOSED) !== 0;
    this.pkru = (context & Context.PKE) !== 0 ? i32[words + PKRU]! : 0;
    this.pkrs = (context & Context.PKS) !== 0 ? i32[words + PKRS]! : 0;
    const tables = this.pool.offset(this.pool.select(context, this.pkru, this.pkrs));
    i32[words + TLB_READ] = tables + TlbTable.READ * TLB_TABLE_BYTES;
    i32[words + TLB_WRITE] = tables + TlbTable.WRITE * TLB_TABLE_BYTES;
    i32[words + TLB_EXEC] = tables + TlbTable.EXEC * TLB_TABLE_BYTES;
  }

  /**
   * MOV to CR3 with these halves: loads the PDPTE registers under PAE paging, stores CR3 in the vCPU state (without bit 63) and invalidates what it must:
   * nothing when bit 63 is set under CR4.PCIDE, else the new PCID's translations. False: reserved bits are set, nothing was changed (raise #GP(0)).
   */
  writeCr3(lo: number, hi: number): boolean {
    const { i32, words, context } = this;
    const paging = context & Context.PAGING;
    const long = paging >= Paging.LEVEL4 || (i32[words + EFER]! & Efer.LMA) !== 0;
    const pcids = long && (i32[words + CR4]! & Cr4.PCIDE) !== 0;
    if (long && (hi & (pcids ? this.cr3Reserved : this.cr3Reserved | 0x8000_0000)) !== 0) return false;
    if (paging === Paging.PAE && !this.loadPdptes(lo)) return false;
    i32[words + CR3] = lo;
    i32[words + CR3 + 1] = long ? hi & 0x7fff_ffff : 0;
    if (!pcids || hi >= 0) {
      const pcid = pcids ? (lo & 0xfff) << Context.PCID_SHIFT : 0;
      this.pool.invalidate(Context.SPACE | Context.PCID, this.space | pcid);
    }
    this.setContext();
    return true;
  }

  /** Loads the PDPTE registers from the table that `cr3` (its low half) points to; false: reserved bits, nothing was loaded (raise #GP(0)). */
  loadPdptes(cr3 = this.i32[this.words + CR3]!): boolean {
    return this.walker.loadPdptes(cr3);
  }

  /** INVLPG: forgets one page in every PCID (global pages are not told apart), whatever its size. */
  invalidatePage(lo: number, hi: number): void {
    this.pool.invalidatePage(lo | 0, hi | 0, Context.SPACE, this.space);
  }

  /** Forgets every translation of this address space, global ones too. */
  flushAll(): void {
    this.pool.invalidate(Context.SPACE, this.space);
  }

  /** Forgets the current PCID's translations. */
  flushNonGlobal(): void {
    this.pool.invalidate(Context.SPACE | Context.PCID, this.space | (this.context & Context.PCID));
  }

  /** INVPCID of type 0 (address), 1 (PCID), 2 (all) or 3 (all but global); the caller has checked the operands. */
  invpcid(type: number, pcid: number, lo: number, hi: number): void {
    const match = this.space | (pcid << Context.PCID_SHIFT);
    if (type === 0) this.pool.invalidatePage(lo | 0, hi | 0, Context.SPACE | Context.PCID, match);
    else if (type === 1) this.pool.invalidate(Context.SPACE | Context.PCID, match);
    else this.flushAll();
  }

  /** Takes write access to an arena page (-1: all) out of the TLB, so that the next write asks. */
  dropWriteAccess(arenaPage: number): void {
    this.pool.dropWrites(arenaPage);
  }

  /** Forgets everything, of every address space. */
  forgetEverything(): void {
    this.pool.invalidate(0, 0);
  }

  /** Forgets everything and starts from what the vCPU state says: after a reset or a load of that state. */
  reset(): void {
    this.forgetEverything();
    this.setContext();
  }

  /** Memory type of the page at a linear address in the current mode, from MTRRs and PAT (a `MemoryType`); -1 when unmapped. For cold code. */
  memoryType(lo: number, hi: number): number {
    const physical = this.peek(lo, hi);
    if (physical < 0) return -1;
    const leaf = (this.context & Context.PAGING) === Paging.NONE ? undefined : this.walker.walk;
    return memoryTypeAt(this.memory.arena.memory.buffer, this.words * 4, BigInt(physical), leaf);
  }

  private controlsChanged(cr0: number, cr4: number): void {
    if (controlsOweFlush(this.cr0, cr0, this.cr4, cr4)) this.flushAll();
    this.cr0 = cr0;
    this.cr4 = cr4;
  }

  private denial(access: number, user: boolean): number {
    if ((this.context & Context.PAGING) === Paging.NONE) return Denied.NO;
    const { walk } = this.walker;
    return denies(this.context, walk.rights, walk.key, access, user, this.pkru, this.pkrs);
  }

  /** Physical page of a guest-physical one; -1 when the second stage refuses. */
  private finalPage(page: number, access: number): number {
    const stage = this.walker.tables.secondStage;
    let address = page * PAGE_BYTES;
    if (stage !== null) {
      address = stage.access(address, access & Access.TYPE);
      if (address < 0) return -1;
    }
    return ((this.context & Context.A20_CLOSED) !== 0 ? withoutA20(address) : address) / PAGE_BYTES;
  }

  private refuseWalk(lo: number, hi: number, access: number, user: boolean, walked: number): boolean {
    if (walked === Walked.SECOND_STAGE) return this.secondStageFault();
    return this.pageFault(lo, hi, access, user, walked === Walked.RESERVED ? PageFault.P | PageFault.RSVD : 0);
  }

  private secondStageFault(): boolean {
    this.fault = TranslationFault.SECOND_STAGE;
    return false;
  }

  /** A page fault also forgets the page, so that the access can be tried again with new tables (SDM Vol. 3, "Operations that Invalidate TLBs"). */
  private pageFault(lo: number, hi: number, access: number, user: boolean, cause: number): boolean {
    this.fault = TranslationFault.PAGE_FAULT;
    this.errorCode = pageFaultCode(this.context, access, user, cause);
    this.pool.invalidatePage(lo | 0, hi | 0, Context.SPACE | Context.PCID, this.space | (this.context & Context.PCID));
    return false;
  }

  private succeed(lo: number, hi: number, page: number, access: number, user: boolean): boolean {
    const start = this.memory.arenaOffsetOf(page * PAGE_BYTES);
    this.fault = TranslationFault.NONE;
    this.physical = page * PAGE_BYTES + (lo & 0xfff);
    this.arenaOffset = start < 0 ? -1 : start + (lo & 0xfff);
    if (start >= 0 && this.mayCache(user)) this.fill(lo, hi, page, start, access & Access.TYPE);
    return true;
  }

  /** A bank holds what accesses of its own CPL class may do; what an implicit access may do, an explicit one may too. */
  private mayCache(user: boolean): boolean {
    const { context } = this;
    return (context & Context.PAGING) === Paging.NONE || ((context & Context.USER) !== 0) === user;
  }

  private fill(lo: number, hi: number, page: number, start: number, type: number): void {
    const { pool } = this;
    const { sizeShift } = this.walker.walk;
    const addend = (start - (lo & ~0xfff)) | 0;
    if (type === Access.EXECUTE) {
      pool.fill(TlbTable.EXEC, lo, hi, addend, page, sizeShift);
      return;
    }
    if (this.watches.covers(lo, hi)) return;
    if (this.stageAllows(StageRights.READ)) pool.fill(TlbTable.READ, lo, hi, addend, page, sizeShift);
    const arenaPage = start / PAGE_BYTES;
    const { pageFlags } = this.memory;
    if (type === Access.WRITE) {
      // The write that asked is about to happen: the page is dirty for the log, and may be written at full speed from now on.
      if ((pageFlags[arenaPage]! & PageFlag.DIRTY_LOG) !== 0) this.memory.dirtyLog.mark(arenaPage);
    } else if (!this.writable()) {
      return;
    }
    if ((pageFlags[arenaPage]! & WRITE_TRAP) !== 0 || !this.stageAllows(StageRights.WRITE)) return;
    pageFlags[arenaPage]! |= PageFlag.WRITE_CACHED;
    pool.fill(TlbTable.WRITE, lo, hi, addend, page, sizeShift);
  }

  /** True when the translation just used for a read would do for a write with no flag left to set. */
  private writable(): boolean {
    if ((this.context & Context.PAGING) === Paging.NONE) return true;
    return this.walker.walk.dirty && this.denial(Access.WRITE, (this.context & Context.USER) !== 0) === Denied.NO;
  }

  private stageAllows(right: number): boolean {
    const stage = this.walker.tables.secondStage;
    return stage === null || (stage.rights & right) !== 0;
  }
}
