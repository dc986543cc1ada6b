import { Cr4 } from '@nestvm/isa';
import { PAGE_BYTES, PageFlag, type PhysicalMemory, WRITE_TRAP } from '@nestvm/memory';
import { type Stateful, structState } from '@nestvm/state';
import { Access } from './access.js';
import { TranslationCaches } from './caches.js';
import { combine } from './combine.js';
import { Context, Paging, packContext } from './context.js';
import { controlsOweFlush, isLong, reservedOfCr3 } from './control-changes.js';
import { PageFault, pageFaultCode } from './faults.js';
import { withoutA20 } from './guest/tables.js';
import { Rights, Walked } from './guest/walk.js';
import { GuestWalker } from './guest/walker.js';
import { LinearWatches } from './linear-watches.js';
import { type GuestSpace, SpaceMode, Stage } from './nested/guest-space.js';
import type { StageFault } from './nested/stage-fault.js';
import { assertOptions, type MmuOptions, TranslationFault } from './options.js';
import { memoryTypeAt } from './page-memory-type.js';
import { Denied, denies } from './permission.js';
import { PlainWalk } from './plain-walk.js';
import { A20_MASK, CPL, CR0, CR3, CR4, EFER, PKRS, PKRU, RFLAGS, TLB_EXEC, TLB_READ, TLB_WRITE, WALK } from './registers.js';
import { Sanitizer } from './sanitizer.js';
import { type SecondStage, StageRights } from './second-stage.js';
import type { Shadow } from './shadow.js';
import { mmuState } from './state.js';
import { TLB_TABLE_BYTES, TlbTable } from './tlb/layout.js';

/** Tries before a table entry that changes at each look is taken as it is. */
const TRIES = 8;
const ACCESS_NAMES = ['read', 'write', 'execute'] as const;

/**
 * Address translation of one vCPU: walks the guest's tables, checks rights, keeps A and D flags, and fills the TLB that generated code reads.
 * Call `setContext` after every change of CR0, CR3, CR4, EFER, CPL, EFLAGS.AC, PKRU, PKRS or the A20 mask in the vCPU state.
 */
export class Mmu extends TranslationCaches {
  /** After `translate` said true: the physical address. */
  physical = 0;
  /** After `translate` said true: arena offset of RAM or ROM, -1 for a device, nothing, or the APIC-access page. */
  arenaOffset = -1;
  /** After `translate` said true: the page is the APIC-access page of the space in force. */
  apicAccess = false;
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
  /** After `translate` said false with `SECOND_STAGE`: what the second stage found. */
  readonly stageFault: StageFault;

  private readonly memory: PhysicalMemory;
  private readonly i32: Int32Array;
  /** First word of the vCPU state in `i32`. */
  private readonly words: number;
  private readonly walker: GuestWalker;
  private readonly cr3Reserved: number;
  private readonly random: (() => number) | undefined;
  private readonly sanitizer: Sanitizer | null;
  /** The rest of the mode in force, and the control registers it was made from. */
  private pkru = 0;
  private pkrs = 0;
  private cr0 = 0;
  private cr4 = 0;
  /** Walks may begin at cached tables. */
  private cachesTables = true;
  private readonly plain: PlainWalk;
  private apicAccessPage = -1;
  private apicGuestPage = -1;

  constructor(private readonly options: MmuOptions) {
    assertOptions(options);
    super(options);
    const { memory, vcpuBase, maxPhysicalAddress = 40, pages1g = true } = options;
    const { arena } = memory;
    this.memory = memory;
    this.i32 = arena.i32;
    this.words = vcpuBase / 4;
    this.stateBase = arena.allocate('mmu state', mmuState.size);
    this.state = structState(mmuState, arena.memory.buffer, this.stateBase, () => this.reset());
    this.watches = new LinearWatches(
      (lo, hi) => this.pool.invalidatePage(-1, lo, hi, 0, 0, false),
      () => this.placeWalk(),
    );
    const pdptes = (this.stateBase + mmuState.offset.pdpte) / 4;
    this.walker = new GuestWalker({ memory, registers: arena.i32, cr3: vcpuBase / 4 + CR3, pdptes, maxPhysicalAddress, pages1g });
    this.cr3Reserved = maxPhysicalAddress >= 52 ? 0x7ff0_0000 : 0x7fff_ffff & ~((1 << (maxPhysicalAddress - 32)) - 1);
    this.stageFault = this.nested.fault;
    this.random = options.evict;
    this.sanitizer = options.sanitize === undefined ? null : new Sanitizer(memory, options.sanitize);
    if (this.sanitizer !== null) {
      this.pool.onForget = () => this.sanitizer?.recall();
      this.pool.unlink();
    }
    this.cachesTables = this.sanitizer === null;
    this.plain = new PlainWalk(arena, memory, pages1g && this.sanitizer === null && this.random === undefined);
    this.pool.onBound = (first, end) => this.plain.useBanks(first, end);
    memory.observe({ mapChanged: () => this.mapChanged(), writeAccessRevoked: (page) => this.pool.dropWrites(page) });
    this.setContext();
  }

  /** The second stage in force, or null. Whoever sets one of his own also owes the invalidations of its architecture; `enterGuest` sets EPT and NPT. */
  get secondStage(): SecondStage | null {
    return this.walker.tables.secondStage;
  }

  set secondStage(stage: SecondStage | null) {
    this.walker.tables.secondStage = stage;
    this.placeWalk();
  }

  /** True between `enterGuest` and `leaveGuest`. */
  get inGuest(): boolean {
    return this.guest !== null;
  }

  /**
   * Puts a space of guest mode in force, with the mode that the vCPU state says: call it when the guest's registers are there, and before `setContext`, which
   * would take a new CR0 or CR4 for a MOV and flush. Nothing is flushed; the same values find the translations that they left. Also for a change of the
   * space within guest mode (EPTP switching).
   */
  enterGuest(space: GuestSpace): void {
    const { pool, walker } = this;
    this.guest = space;
    pool.space = this.spaces.find(space);
    pool.tag = space.tag;
    pool.root = space.stage === Stage.NONE ? -1 : space.root;
    this.apicAccessPage = space.apicAccessPage;
    this.apicGuestPage = space.apicGuestPage;
    const hlat = (space.modes & SpaceMode.HLAT) !== 0;
    walker.hlatPage = hlat ? Math.floor(space.hlatRoot / PAGE_BYTES) : -1;
    walker.hlatPrefix = space.hlatPrefix;
    walker.pdptesInMemory = space.stage === Stage.NPT;
    this.cachesTables = this.sanitizer === null && (space.modes & (SpaceMode.HLAT | SpaceMode.PAGING_VERIFY)) === 0;
    if (space.stage === Stage.NONE) walker.tables.secondStage = null;
    else {
      walker.tables.secondStage = this.nested;
      this.nested.enter(space, this.spaces.generation);
    }
    this.plain.enterStage(space, pool.space, this.nested);
    this.adoptControls();
    this.setContext();
  }

  /** Leaves guest mode: call it when the host's registers are in the vCPU state, and before `setContext`. Nothing is flushed. */
  leaveGuest(): void {
    const { pool, walker } = this;
    this.guest = null;
    pool.space = 0;
    pool.tag = 0;
    pool.root = -1;
    this.apicAccessPage = -1;
    this.apicGuestPage = -1;
    walker.hlatPage = -1;
    walker.pdptesInMemory = false;
    walker.tables.secondStage = null;
    this.plain.leaveStage();
    this.cachesTables = this.sanitizer === null;
    this.adoptControls();
    this.setContext();
  }

  /** Runs the second stage in force alone: physical address of a guest-physical one, with the rights and flags that a guest table's entry needs; -1: `stageFault`. */
  guestPhysicalToPhysical(address: number, write: boolean): number {
    const stage = this.walker.tables.secondStage;
    return stage === null ? address : stage.table(address, write);
  }

  /**
   * Translates one linear address (int32 or uint32 halves; canonical, which the caller checks). `access` is an `Access` value;
   * `user` is true for a user-mode access (CPL 3 and not implicit). True: `physical` and `arenaOffset` are set and the TLB is filled where that is legal.
   * False: `fault` says why; for a page fault `errorCode` is set, and the caller raises it with CR2 = the address.
   */
  translate(lo: number, hi: number, access: number, user: boolean): boolean {
    const { walker, context } = this;
    if (this.random !== undefined) this.evictOne(this.random());
    if (this.sanitizer !== null && this.translateFromTlb(lo, hi, access, user, this.sanitizer)) return true;
    if (this.translateToDevice(lo, hi, access, user)) return true;
    if (this.cachesTables && (context & Context.PAGING) >= Paging.PAE && this.translateFromCache(lo, hi, access, user)) return true;
    for (let tries = 0; ; tries++) {
      this.walker.tables.secondStage?.begin();
      const walked = walker.run(lo, hi, context);
      if (walked === Walked.SECOND_STAGE) return this.secondStageFault(lo, hi);
      if (walked !== Walked.MAPPED) return this.pageFault(lo, hi, access, user, walked === Walked.RESERVED ? PageFault.P | PageFault.RSVD : 0);
      const denied = this.denial(access, user);
      if (denied !== Denied.NO) return this.pageFault(lo, hi, access, user, denied === Denied.BY_KEY ? PageFault.P | PageFault.PK : PageFault.P);
      const page = this.finalPage(lo, walker.walk.page, access);
      if (page < 0) return this.secondStageFault(lo, hi);
      const marked = walker.markUsed((access & Access.TYPE) === Access.WRITE);
      if (marked < 0) return this.secondStageFault(lo, hi);
      // A device that answers for a table may change its mind each time: take it as it is in the end.
      if (marked > 0 || tries >= TRIES) {
        if (this.cachesTables) this.rememberTables(lo, hi);
        return this.succeed(lo | 0, hi | 0, page, access, user);
      }
    }
  }

  /** Where a linear address leads, whatever the rights, with no trace in tables or TLB: for debuggers. -1 when unmapped. */
  peek(lo: number, hi: number): number {
    const { tables, walk } = this.walker;
    tables.quiet = true;
    const walked = this.walker.run(lo, hi, this.context);
    tables.quiet = false;
    if (walked !== Walked.MAPPED) return -1;
    const address = walk.page * PAGE_BYTES + (lo & 0xfff);
    const physical = tables.secondStage === null ? address : tables.secondStage.peek(address);
    return physical >= 0 && tables.a20Closed ? withoutA20(physical) : physical;
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
    const context = packContext(cr0, i32[words + CR3]!, cr4, i32[words + EFER]!, i32[words + RFLAGS]!, i32[words + CPL]!, i32[words + A20_MASK]!);
    this.walker.tables.a20Closed = (context & Context.A20_CLOSED) !== 0;
    this.pkru = (context & Context.PKE) !== 0 ? i32[words + PKRU]! : 0;
    this.pkrs = (context & Context.PKS) !== 0 ? i32[words + PKRS]! : 0;
    const bank = this.pool.offset(this.pool.select(context, this.pkru, this.pkrs));
    const tables = this.sanitizer === null ? bank : this.sanitizer.judgedBank;
    i32[words + TLB_READ] = tables + TlbTable.READ * TLB_TABLE_BYTES;
    i32[words + TLB_WRITE] = tables + TlbTable.WRITE * TLB_TABLE_BYTES;
    i32[words + TLB_EXEC] = tables + TlbTable.EXEC * TLB_TABLE_BYTES;
    this.placeWalk();
  }

  /** Says whether generated code may walk by itself, and what it needs for that. */
  private placeWalk(): void {
    const { context, pool, walker } = this;
    const { secondStage } = walker.tables;
    const isPlain = (secondStage === null || (secondStage === this.nested && this.guest !== null)) && walker.hlatPage < 0 && this.watches.areDisarmed;
    const reserved = walker.reservedLong | ((context & Context.NXE) === 0 ? 0x8000_0000 : 0);
    this.i32[this.words + WALK] = isPlain ? this.plain.place(context, reserved, pool.journal(pool.current), this.pkru, this.pkrs) : 0;
  }

  private mapChanged(): void {
    this.plain.mapChanged();
    if (this.guest !== null) this.plain.enterStage(this.guest, this.pool.space, this.nested);
    this.placeWalk();
    this.forgetEverything();
  }

  /** Whether a MOV to CR3 whose value has this high half sets no reserved bit. */
  isCr3Allowed(hi: number): boolean {
    return !isLong(this.context, this.i32[this.words + EFER]!) || (hi & reservedOfCr3(this.cr3Reserved, this.i32[this.words + CR4]!)) === 0;
  }

  /**
   * MOV to CR3 with these halves: loads the PDPTE registers under PAE paging, stores CR3 in the vCPU state (without bit 63) and invalidates what it must:
   * nothing when bit 63 is set under CR4.PCIDE, else the new PCID's translations. False: nothing was changed; `fault` is `SECOND_STAGE` when the second stage
   * refused a PDPTE, else reserved bits are set (raise #GP(0)).
   */
  writeCr3(lo: number, hi: number): boolean {
    const { i32, words, context } = this;
    const paging = context & Context.PAGING;
    const long = isLong(context, i32[words + EFER]!);
    const pcids = long && (i32[words + CR4]! & Cr4.PCIDE) !== 0;
    this.fault = TranslationFault.NONE;
    if (!this.isCr3Allowed(hi)) return false;
    if (paging === Paging.PAE && !this.loadPdptes(lo)) return false;
    i32[words + CR3] = lo;
    i32[words + CR3 + 1] = long ? hi & 0x7fff_ffff : 0;
    if (!pcids || hi >= 0) {
      const pcid = pcids ? (lo & 0xfff) << Context.PCID_SHIFT : 0;
      this.pool.invalidate(this.pool.tag, Context.PCID, pcid);
    }
    this.setContext();
    return true;
  }

  /**
   * Loads the PDPTE registers from the table that `cr3` (its low half) points to; nested paging reads them at each walk instead. False: nothing was loaded;
   * `fault` is `SECOND_STAGE` when the second stage refused, else reserved bits are set (raise #GP(0)).
   */
  loadPdptes(cr3 = this.i32[this.words + CR3]!): boolean {
    this.fault = TranslationFault.NONE;
    if (this.walker.pdptesInMemory) return true;
    this.walker.tables.refused = false;
    if (this.walker.loadPdptes(cr3)) return true;
    if (this.walker.tables.refused) this.fault = TranslationFault.SECOND_STAGE;
    return false;
  }

  /** Half of a PDPTE register, 0 to 3; `high` 0 or 1. */
  pdpte(index: number, high: number): number {
    return this.i32[(this.stateBase + mmuState.offset.pdpte) / 4 + index * 2 + high]!;
  }

  /** Stores a PDPTE register (int32 halves), as VM entry does; the caller has checked it. */
  setPdpte(index: number, lo: number, hi: number): void {
    const at = (this.stateBase + mmuState.offset.pdpte) / 4 + index * 2;
    this.i32[at] = lo;
    this.i32[at + 1] = hi;
  }

  /** Forgets everything and starts from what the vCPU state says, in root mode: after a reset or a load of that state. */
  reset(): void {
    this.forgetEverything();
    if (this.guest !== null) this.leaveGuest();
    this.setContext();
  }

  /** Both walks of a linear address in the current mode step by step, and what they make together: for debuggers; changes nothing (HLAT paging is left out). */
  shadow(lo: number, hi: number): Shadow {
    const { i32, words, context, guest, options } = this;
    const { memory, maxPhysicalAddress = 40, pages1g = true } = options;
    const pdptes = Array.from({ length: 8 }, (_, i) => this.pdpte(i >> 1, i & 1));
    const cr3 = (i32[words + CR3 + 1]! & 0xf_ffff) * 0x1_0000_0000 + (i32[words + CR3]! >>> 0);
    const noExecute = (context & Context.NXE) !== 0;
    const tables = { paging: context & Context.PAGING, cr3, pdptes, noExecute, largePages: (context & Context.PSE) !== 0 };
    const nested = guest === null || guest.stage === Stage.NONE ? {} : { nested: guest };
    return combine({ memory, maxPhysicalAddress, pages1g, guest: tables, ...nested }, lo, hi);
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

  /** Control registers that a world switch loaded owe no flush. */
  private adoptControls(): void {
    this.cr0 = this.i32[this.words + CR0]!;
    this.cr4 = this.i32[this.words + CR4]!;
  }

  private denial(access: number, user: boolean): number {
    if ((this.context & Context.PAGING) === Paging.NONE) return Denied.NO;
    const { walk } = this.walker;
    const rights = (access & Access.SHADOW_STACK) !== 0 && walk.isShadowStack ? walk.rights | Rights.SHADOW_STACK : walk.rights;
    return denies(this.context, rights, walk.key, access, user, this.pkru, this.pkrs);
  }

  /** Takes the translation of a device's page that is known, unless a page fault that generated code has found owes that it be forgotten. */
  private translateToDevice(lo: number, hi: number, access: number, user: boolean): boolean {
    const { device, plain, pool } = this;
    return device.holds(lo, hi | 0, access, user, pool.current, pool.epoch) && !plain.owesStructures && this.take(lo, -1, device.page);
  }

  private take(lo: number, arenaOffset: number, page: number): true {
    this.fault = TranslationFault.NONE;
    this.apicAccess = false;
    this.arenaOffset = arenaOffset;
    this.physical = page * PAGE_BYTES + (lo & 0xfff);
    return true;
  }

  /** A walk that begins at a cached table. False: nothing is cached, or the full walk must tell why it does not work. */
  private translateFromCache(lo: number, hi: number, access: number, user: boolean): boolean {
    const { walker, pool } = this;
    const { structures, current } = pool;
    if (this.plain.takeStale()) this.forgetStructures();
    let level = 1;
    if (!structures.findTable(current, lo, hi)) {
      if (!structures.findDirectory(current, lo, hi)) return false;
      level = 2;
    }
    if (walker.runFrom(level, structures.page, structures.rights, lo, hi, this.context) !== Walked.MAPPED) return false;
    if (this.denial(access, user) !== Denied.NO) return false;
    const page = this.finalPage(lo, walker.walk.page, access);
    if (page < 0 || walker.markUsed((access & Access.TYPE) === Access.WRITE) <= 0) return false;
    if (level === 2) this.rememberTables(lo, hi);
    return this.succeed(lo | 0, hi | 0, page, access, user);
  }

  /** For the sanitizer, which keeps the TLB from generated code: uses an entry as generated code would, after comparing it with a fresh walk. */
  private translateFromTlb(lo: number, hi: number, access: number, user: boolean, sanitizer: Sanitizer): boolean {
    const type = access & Access.TYPE;
    const slot = this.pool.slot(type, lo);
    const { i32 } = this;
    if (access !== type || !this.mayCache(user) || i32[slot] !== (lo & ~0xfff) || i32[slot + 1] !== (hi | 0)) return false;
    const page = i32[slot + 3]! >>> 0;
    if (sanitizer.mustJudge(slot)) {
      const fresh = this.shadow(lo, hi);
      const rights = user ? fresh.entry?.user : fresh.entry?.supervisor;
      const judged = type === Access.WRITE && !user && (this.context & Context.WP) === 0 ? true : rights?.[ACCESS_NAMES[type]!] === true;
      sanitizer.used(slot, type, lo, hi, page, fresh, judged);
    }
    sanitizer.lend(slot, slot - this.pool.offset(this.pool.current) / 4);
    return this.take(lo, (lo + i32[slot + 2]!) >>> 0, page);
  }

  private rememberTables(lo: number, hi: number): void {
    const { walk } = this.walker;
    const { structures, current } = this.pool;
    if (walk.pageTable >= 0) structures.putTable(current, lo, hi, walk.pageTable, walk.pageTableRights);
    if (walk.directory >= 0) structures.putDirectory(current, lo, hi, walk.directory, walk.directoryRights);
  }

  /** Physical page of a guest-physical one; -1 when the second stage refuses. */
  private finalPage(lo: number, page: number, access: number): number {
    const { secondStage: stage, a20Closed } = this.walker.tables;
    if (stage === null) return a20Closed ? withoutA20(page * PAGE_BYTES) / PAGE_BYTES : page;
    const address = stage.access(page * PAGE_BYTES + (lo & 0xfff), access & Access.TYPE, this.linearRights(access));
    if (address < 0) return -1;
    return Math.floor((a20Closed ? withoutA20(address) : address) / PAGE_BYTES);
  }

  /** What the second stage is told of the first. */
  private linearRights(access: number): number {
    const { rights } = this.walker.walk;
    return (access & Access.SHADOW_STACK) === 0 ? rights : rights | Rights.SHADOW_STACK;
  }

  /** Like a page fault, a violation forgets the linear address's translation (SDM Vol. 3, "Operations that Invalidate Cached Mappings"). */
  private secondStageFault(lo: number, hi: number): boolean {
    this.fault = TranslationFault.SECOND_STAGE;
    this.nested.fault.locate(lo, hi, this.nested.reportsQualification);
    this.forgetAddress(lo, hi);
    return false;
  }

  /** A page fault also forgets the page, so that the access can be tried again with new tables (SDM Vol. 3, "Operations that Invalidate TLBs"). */
  private pageFault(lo: number, hi: number, access: number, user: boolean, cause: number): boolean {
    this.fault = TranslationFault.PAGE_FAULT;
    this.errorCode = pageFaultCode(this.context, access, user, cause);
    this.forgetAddress(lo, hi);
    return false;
  }

  private succeed(lo: number, hi: number, page: number, access: number, user: boolean): boolean {
    this.fault = TranslationFault.NONE;
    this.physical = page * PAGE_BYTES + (lo & 0xfff);
    this.apicAccess = this.guest !== null && (page === this.apicAccessPage || this.walker.walk.page === this.apicGuestPage);
    const start = this.apicAccess ? -1 : this.memory.arenaOffsetOf(page * PAGE_BYTES);
    this.arenaOffset = start < 0 ? -1 : start + (lo & 0xfff);
    if (start < 0 && this.cachesTables && this.random === undefined && this.guest === null && this.walker.tables.secondStage === null)
      this.device.note(lo, hi, access, user, this.pool.current, this.pool.epoch, page);
    // What a shadow-stack access may do, no other may.
    if (start >= 0 && this.mayCache(user) && (access & Access.SHADOW_STACK) === 0) this.fill(lo, hi, page, start, access & Access.TYPE);
    return true;
  }

  /** A bank holds what accesses of its own CPL class may do; what an implicit access may do, an explicit one may too. */
  private mayCache(user: boolean): boolean {
    const { context } = this;
    return (context & Context.PAGING) === Paging.NONE || ((context & Context.USER) !== 0) === user;
  }

  private fill(lo: number, hi: number, page: number, start: number, type: number): void {
    const { sizeShift } = this.walker.walk;
    const addend = (start - (lo & ~0xfff)) | 0;
    if (type === Access.EXECUTE) {
      this.put(TlbTable.EXEC, lo, hi, addend, page, sizeShift);
      return;
    }
    if (this.watches.covers(lo, hi)) return;
    if (this.stageAllows(StageRights.READ)) this.put(TlbTable.READ, lo, hi, addend, page, sizeShift);
    const arenaPage = start / PAGE_BYTES;
    const { pageFlags } = this.memory;
    // The write that asked is about to happen: the page is dirty for the log, and may be written at full speed from now on.
    if (type === Access.WRITE && (pageFlags[arenaPage]! & PageFlag.DIRTY_LOG) !== 0) this.memory.dirtyLog.mark(arenaPage);
    if ((type !== Access.WRITE && !this.writable()) || !this.stageAllows(StageRights.WRITE)) return;
    const trap = pageFlags[arenaPage]! & WRITE_TRAP;
    if (trap === PageFlag.CODE && type === Access.WRITE) this.pool.fillTrapping(lo, hi, addend, page, sizeShift);
    if (trap !== 0) return;
    pageFlags[arenaPage]! |= PageFlag.WRITE_CACHED;
    this.put(TlbTable.WRITE, lo, hi, addend, page, sizeShift);
  }

  private put(table: number, lo: number, hi: number, addend: number, page: number, sizeShift: number): void {
    this.pool.fill(table, lo, hi, addend, page, sizeShift);
    if (this.sanitizer !== null && this.walker.hlatPage < 0) this.sanitizer.filled(this.pool.slot(table, lo), this.shadow(lo, hi).steps);
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

  /** Random eviction: a legal TLB may forget anything at any time. */
  private evictOne(random: number): void {
    this.pool.evict((random >>> 30) % 3, random >>> 12);
    if ((random & 15) === 0) this.pool.structures.clear(this.pool.current);
    if ((random & 0xf0) === 0) this.nested.cache.evict(random >>> 8);
    if ((random & 0xff00) === 0) this.pool.forgetCurrent();
  }
}
