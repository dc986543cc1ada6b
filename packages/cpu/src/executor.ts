import { Mode, Segment } from '@nestvm/isa';
import { leadOn, linkTo } from './blocks/link-target.js';
import type { Engine } from './engine.js';
import { noteBranch } from './events/branches.js';
import { afterInstruction, afterIteration, beforeInstruction } from './events/debug.js';
import { Activity, deliverFault } from './events/deliver.js';
import { serviceEvents } from './events/service.js';
import { ExitReason, Link, REPEAT_COST, Record, Slot } from './interpreter/record.js';
import { readTimeHere } from './interpreter/time-here.js';
import { SECOND_STAGE_VECTOR, TLB_INDEX_MASK } from './linear.js';
import { canonicalShift, DebugCtl, nextPageHigh } from './mode.js';
import { Outcome } from './outcome.js';
import type { Executor, Stop } from './ports/executor.js';
import { Access, SECOND_STAGE_FAULT } from './ports/translation.js';
import type { Vcpu } from './vcpu.js';
import { ACTIVITY, CPL, DEBUG_CTL, GUEST_MODE, MODE, RIP, SEG_BASE, SEG_LIMIT, TIME_SPAN, word } from './words.js';

const BUDGET = word('budget');
const EXIT_REASON = word('exitReason');
const EXIT_RECORD = word('exitRecord');
const BLOCK_RIP = word('blockRip');
const TLB_EXEC = word('tlbExec');
const MSR_TABLE = word('msrTable');
const DELIVERY_WATCHED = word('deliveryWatched');
const GP = 13;
const PF = 14;
const UD = 6;
/** What is in place of an arena offset where code cannot be fetched, or not from memory. */
const REFUSED = -1;
const DEVICE = -2;

/** Runs one vCPU by interpreting decoded blocks. */
export class Interpreter implements Executor {
  /** Budget granted to the present run, and the part of it that a request to stop has set aside. */
  private granted = 0;
  private parked = 0;
  /** … and the part that waits behind the overflow of a performance counter. */
  private withheld = 0;
  private running = false;
  private stopRequested = false;
  /** Block that `miss` found at RIP, for the loop to go on at; forgotten as soon as anything else may happen. */
  private found = 0;
  /** Instructions retired in earlier runs. */
  private before = 0;
  private msrTable = 0;

  constructor(
    readonly cpu: Vcpu,
    private readonly engine: Engine,
  ) {
    engine.add(this);
    cpu.deliverPlain = engine.handlers.deliverHere;
    cpu.onAttention = () => this.interrupt();
    cpu.counters.instructionCount = () => this.retired;
  }

  /** Instructions retired since the start, exact at instruction boundaries and inside of slow accesses and system instructions. */
  get retired(): number {
    if (!this.running) return this.before;
    return this.before + this.granted - this.parked - this.withheld - this.cpu.w[BUDGET]!;
  }

  /** Makes `run` return soon, with `requested`. */
  requestStop(): void {
    this.stopRequested = true;
    this.interrupt();
  }

  /** Makes the engine leave at the next block end; the budget that is left is set aside. */
  private interrupt(): void {
    const left = this.cpu.w[BUDGET]!;
    if (!this.running || left < 0) return;
    this.parked += left + 1;
    this.cpu.w[BUDGET] = -1;
    this.cpu.w[TIME_SPAN] = 0;
  }

  /** See {@link Executor}. */
  run(budget: number): Stop {
    const { cpu } = this;
    this.granted = budget;
    this.parked = 0;
    this.withheld = 0;
    // Only now is all defined that extensions bring; and a reset clears the word.
    if (cpu.w[MSR_TABLE] === 0) cpu.w[MSR_TABLE] = this.msrTable ||= this.engine.createMsrTable(cpu);
    cpu.w[DELIVERY_WATCHED] = cpu.onDelivery === null ? 0 : 1;
    // Another vCPU may have taken its place.
    this.found = 0;
    cpu.w[BUDGET] = budget;
    cpu.w[TIME_SPAN] = 0;
    this.running = true;
    const stop = this.loop();
    this.before = this.retired;
    this.running = false;
    return stop;
  }

  private loop(): Stop {
    const { cpu, engine } = this;
    const { w } = cpu;
    for (;;) {
      this.unpark();
      if (this.withheld !== 0 || cpu.counters.limited) this.limit();
      if (cpu.attention !== 0) {
        this.found = 0;
        while (serviceEvents(cpu));
        // What asked for attention meanwhile has had it: nothing of it is left to stop the engine for.
        if (cpu.attention === 0) this.unpark();
        if (cpu.counters.isHalted && w[ACTIVITY] === Activity.ACTIVE) cpu.counters.resume();
      }
      if (w[ACTIVITY] !== Activity.ACTIVE) {
        if (cpu.counters.running) cpu.counters.halt();
        return w[ACTIVITY] === Activity.SHUTDOWN ? 'shutdown' : 'idle';
      }
      if (this.stopRequested) {
        this.stopRequested = false;
        return 'requested';
      }
      if (w[BUDGET]! < 0) return 'budget';
      if ((w[MODE]! & Mode.SINGLE) !== 0) this.step();
      else {
        const record = this.found;
        this.found = 0;
        if (record !== 0) engine.handlers.enterAt(record, cpu.base);
        else engine.handlers.enter(cpu.base);
        while (w[EXIT_REASON] === ExitReason.HOT) this.heated(w[EXIT_RECORD]!);
        this.handleExit();
      }
    }
  }

  /** Gives the engine back the budget that a call for attention took from it. */
  private unpark(): void {
    if (this.parked === 0) return;
    const { w } = this.cpu;
    w[BUDGET] = w[BUDGET]! + this.parked;
    w[TIME_SPAN] = 0;
    this.parked = 0;
  }

  /** Lets the engine go no further than to the next interrupt of a counter of instructions. */
  private limit(): void {
    const { counters, w } = this.cpu;
    const budget = w[BUDGET]! + this.withheld;
    this.withheld = 0;
    w[BUDGET] = budget;
    w[TIME_SPAN] = 0;
    if (!counters.limited) return;
    const left = counters.instructionsLeft();
    if (budget <= left) return;
    this.withheld = budget - left;
    w[BUDGET] = left;
  }

  /** For generated code: carries a system instruction out. 1: it may go on at RIP; 0: it must come back, for the reason that is set. */
  systemHere(record: number): number {
    const { w } = this.cpu;
    if ((w[MODE]! & Mode.SINGLE) !== 0) {
      w[EXIT_RECORD] = record;
      w[EXIT_REASON] = ExitReason.SYSTEM;
      return 0;
    }
    w[EXIT_REASON] = ExitReason.DONE;
    this.system(record);
    return this.mayGoOn() ? 1 : 0;
  }

  /** For generated code: the block at RIP, which the engine does not know; 0: it must come back, for a fault or for the loop. */
  missHere(): number {
    const { w } = this.cpu;
    w[EXIT_REASON] = ExitReason.MISS;
    return this.mayGoOn() ? this.findBlock() : 0;
  }

  /** For generated code: links the jump that it has noted, and gives the block that it leads to; 0: it must come back, where that is tried once more. */
  linkHere(): number {
    if (!this.mayGoOn()) return 0;
    const { w } = this.cpu;
    return this.linked(w[EXIT_RECORD]!, w[EXIT_REASON] === ExitReason.LINK_TAKEN ? Record.LINK_TAKEN : Record.LINK_NEXT);
  }

  /** For generated code: the time-stamp counter as software sees it, at the instruction of a record, into `scratch`. */
  timeHere(record: number): void {
    readTimeHere(this.cpu, this.engine.arena.u8[record + Record.INDEX]!);
  }

  /** Whether the loop would do nothing but enter the engine again. */
  private mayGoOn(): boolean {
    const { cpu } = this;
    const { w } = cpu;
    if (cpu.attention !== 0 || this.stopRequested || this.withheld !== 0 || cpu.counters.limited) return false;
    return w[ACTIVITY] === Activity.ACTIVE && (w[MODE]! & Mode.SINGLE) === 0;
  }

  /** Reports a block and goes on with it, as if nothing had happened. */
  private heated(head: number): void {
    const { cpu, engine } = this;
    engine.hotCode?.hot(cpu, head);
    engine.handlers.enterAt(head, cpu.base);
  }

  /** One instruction, with what TF, shadows and breakpoints owe before and after it. */
  private step(): void {
    const { cpu } = this;
    if (!beforeInstruction(cpu)) return this.deliver();
    const record = this.findBlock();
    if (record === 0) return this.deliver();
    const { w } = cpu;
    const lo = w[RIP]!;
    const hi = w[RIP + 1]!;
    const guestMode = w[GUEST_MODE]!;
    // Asked now: the record may be gone afterwards.
    const length = (w[DEBUG_CTL]! & (DebugCtl.LBR | DebugCtl.BTF)) === 0 ? 0 : this.engine.lengthAt(record);
    this.engine.handlers.enterAt(record, cpu.base);
    const reason = w[EXIT_REASON]!;
    const completed = this.handleExit();
    if (!completed || reason === ExitReason.STALE) return;
    if (length !== 0) noteBranch(cpu, lo, hi, length, guestMode);
    afterInstruction(cpu);
  }

  /** Delivers the recorded fault. It counts as an instruction: a handler that faults at once would otherwise never let go of the thread. */
  private deliver(): void {
    deliverFault(this.cpu);
    this.cpu.w[BUDGET] = this.cpu.w[BUDGET]! - 1;
  }

  /** Acts on why the engine left; false when the instruction did not complete. */
  private handleExit(): boolean {
    const { w } = this.cpu;
    const record = w[EXIT_RECORD]!;
    switch (w[EXIT_REASON]) {
      case ExitReason.BUDGET:
      case ExitReason.DONE:
        return true;
      case ExitReason.MISS:
        return this.miss();
      case ExitReason.LINK_TAKEN:
        return this.link(record, Record.LINK_TAKEN);
      case ExitReason.LINK_NEXT:
        return this.link(record, Record.LINK_NEXT);
      case ExitReason.SYSTEM:
        return this.system(record);
      case ExitReason.FAULT:
        this.retreat(record);
        this.deliver();
        return false;
      case ExitReason.REPEAT:
        this.retreat(record);
        // Time goes on with the elements: without this, a long run of device accesses would hold the thread for minutes.
        w[BUDGET] = w[BUDGET]! - ((w[MODE]! & Mode.ELEMENT) !== 0 ? 1 : REPEAT_COST);
        afterIteration(this.cpu);
        return false;
      default:
        this.retreat(record);
        // The engine's table still leads here: have the block decoded again, in its place.
        if (!this.miss()) return false;
        if (this.engine.cache.keeps(this.found)) leadOn(this.engine.arena, record, this.found);
        return true;
    }
  }

  /** RIP and budget for leaving in the middle of a block, before the record's instruction. */
  private retreat(record: number): void {
    const { w } = this.cpu;
    const { u8, u16 } = this.engine.arena;
    w[BUDGET] = w[BUDGET]! - u8[record + Record.INDEX]!;
    const lo = w[BLOCK_RIP]!;
    const sum = lo + u16[(record + Record.BLOCK_OFFSET) >>> 1]!;
    w[RIP] = sum;
    w[RIP + 1] = w[BLOCK_RIP + 1]! + ((sum | 0) >>> 0 < lo >>> 0 ? 1 : 0);
    if ((w[MODE]! & Mode.LONG) === 0) w[RIP + 1] = 0;
  }

  /** Looks the block at RIP up, or decodes it, and puts it where the engine finds it. In SINGLE mode nothing is entered here. */
  private miss(): boolean {
    const { cpu } = this;
    if ((cpu.w[MODE]! & Mode.SINGLE) !== 0) return true;
    const record = this.findBlock();
    if (record === 0) {
      this.deliver();
      return false;
    }
    this.found = record;
    return true;
  }

  private link(record: number, field: number): boolean {
    if ((this.cpu.w[MODE]! & Mode.SINGLE) !== 0) return true;
    if (this.linked(record, field) !== 0) return true;
    this.deliver();
    return false;
  }

  /** Lets a jump lead to the block at RIP, and gives that; 0 with a fault recorded. */
  private linked(record: number, field: number): number {
    const { engine } = this;
    const flushes = engine.cache.flushes;
    const target = this.findBlock();
    if (target === 0) return 0;
    const { i32 } = engine.arena;
    // The block that jumps may have gone while its target was decoded.
    if (flushes === engine.cache.flushes && engine.cache.keeps(target) && i32[(record + field) >>> 2] === Link.OPEN)
      i32[(record + field) >>> 2] = linkTo(engine, target, record, field);
    return target;
  }

  /** First record of the block at RIP with `blockRip` set, or 0 with a fault recorded. */
  private findBlock(): number {
    const { cpu, engine } = this;
    const { w } = cpu;
    const mode = w[MODE]!;
    let lo = w[RIP]!;
    let hi = w[RIP + 1]!;
    if ((mode & Mode.LONG) === 0) {
      lo = (lo + w[SEG_BASE + 2 * Segment.CS]!) | 0;
      hi = 0;
    } else {
      const top = hi >> canonicalShift(cpu);
      if (top !== 0 && top !== -1) {
        cpu.raise(GP, 0);
        return 0;
      }
    }
    const host = this.fetchAddress(lo, hi);
    if (host === REFUSED) return 0;
    w[BLOCK_RIP] = w[RIP]!;
    w[BLOCK_RIP + 1] = w[RIP + 1]!;
    if (host === DEVICE) return engine.builder.buildFromDevice(cpu, mode, lo, hi);
    let record = engine.cache.find(host, mode);
    if (record !== 0 && !this.isGoodHere(record, lo, hi)) record = 0;
    if (record === 0) {
      record = engine.builder.build(cpu, host, mode, lo, hi);
      if (record === 0) return 0;
    }
    if ((mode & Mode.SINGLE) === 0 && engine.cache.keeps(record)) engine.cache.publish(host, mode, record);
    return record;
  }

  /** Whether a block that is known would pass its own checks at RIP: of the code segment's end, and of its second page. */
  private isGoodHere(record: number, lo: number, hi: number): boolean {
    const { i32 } = this.engine.arena;
    const { w } = this.cpu;
    let at = record;
    if (i32[at >>> 2] === Slot.LIMIT) {
      if ((w[RIP]! >>> 0) + i32[(at + Record.IMMEDIATE) >>> 2]! > w[SEG_LIMIT + Segment.CS]! >>> 0) return false;
      at += Record.BYTES;
    }
    return i32[at >>> 2] !== Slot.CROSSING || this.crossesAlike(at, lo, hi);
  }

  /** Arena offset of the code at a linear address; `DEVICE` where no memory is, `REFUSED` with a fault recorded. */
  private fetchAddress(lo: number, hi: number): number {
    const { cpu, engine } = this;
    const { w, mmu } = cpu;
    const { i32 } = engine.arena;
    const entry = (w[TLB_EXEC]! >>> 2) + (((lo >>> 12) & TLB_INDEX_MASK) << 2);
    if (i32[entry] === (lo & ~0xfff) && i32[entry + 1] === hi) return (lo + i32[entry + 2]!) >>> 0;
    if (!mmu.translate(lo, hi, Access.EXECUTE, w[CPL] === 3)) {
      cpu.setPageFaultAddress(lo, hi);
      if (mmu.fault === SECOND_STAGE_FAULT) cpu.raise(SECOND_STAGE_VECTOR);
      else cpu.raise(PF, mmu.errorCode);
      return REFUSED;
    }
    if (mmu.arenaOffset >= 0) return mmu.arenaOffset;
    if (mmu.apicAccess !== true || cpu.virtualization?.apicAccess?.(cpu, 1, Access.EXECUTE) !== false) return DEVICE;
    cpu.raise(SECOND_STAGE_VECTOR);
    return REFUSED;
  }

  /** Whether the second page of a page-crossing block is mapped as it was; this also puts it into the exec TLB. */
  private crossesAlike(record: number, lo: number, hi: number): boolean {
    const { mmu, w } = this.cpu;
    const nextLo = ((lo | 0xfff) + 1) | 0;
    const nextHi = nextPageHigh(this.cpu, nextLo, hi);
    return (
      mmu.translate(nextLo, nextHi, Access.EXECUTE, w[CPL] === 3) && mmu.arenaOffset === this.engine.arena.i32[(record + Record.IMMEDIATE) >>> 2]
    );
  }

  /** Carries out an instruction in TypeScript. */
  private system(record: number): boolean {
    const { cpu, engine } = this;
    const { w } = cpu;
    this.retreat(record);
    // Devices may be asked for the time, the counter may be set.
    w[TIME_SPAN] = 0;
    const { insn, vector, meaning, extended } = engine.builder.systemRecords[engine.arena.i32[(record + Record.IMMEDIATE) >>> 2]!]!;
    if (vector >= 0) {
      cpu.raise(vector, vector === GP ? 0 : undefined);
      this.deliver();
      return false;
    }
    cpu.instruction = insn;
    const added = extended ? cpu.extensionInstructions[insn.row.mnemonic] : undefined;
    let outcome: Outcome;
    // Those of extensions check their privilege themselves: #UD and VM exits may come before it.
    if (added !== undefined) outcome = added(cpu, insn);
    else if (meaning === null) outcome = cpu.raise(UD);
    else outcome = insn.row.cpl0 && w[CPL] !== 0 ? cpu.raise(GP, 0) : meaning(cpu, insn);
    switch (outcome) {
      case Outcome.NEXT: {
        const lo = w[RIP]! >>> 0;
        const sum = lo + insn.length;
        w[RIP] = sum;
        if ((w[MODE]! & Mode.LONG) === 0) w[RIP + 1] = 0;
        else if (sum > 0xffffffff) w[RIP + 1] = w[RIP + 1]! + 1;
        w[BUDGET] = w[BUDGET]! - 1;
        return true;
      }
      case Outcome.JUMPED:
        w[BUDGET] = w[BUDGET]! - 1;
        return true;
      case Outcome.REPEAT:
        w[BUDGET] = w[BUDGET]! - 1;
        afterIteration(cpu);
        return false;
      default:
        this.deliver();
        return false;
    }
  }
}
