import { dispatchTargets, ExitReason, goToRecord, jumpSlow, Record, Slot } from '@nestvm/cpu/compiling';
import type { Branch, Val, Variable } from '@nestvm/emit';
import { vcpuState } from '@nestvm/isa';
import { Context, type Meanings } from '@nestvm/semantics';
import { AccessGroups } from './access-groups.js';
import type { ArenaViews } from './arena-views.js';
import type { Block, Edge } from './block.js';
import { NotCompilable } from './errors.js';
import type { ExitLog } from './exit-log.js';
import { ConstantFields } from './fields.js';
import type { Producer } from './flag-state.js';
import { RegionFlags } from './flags.js';
import { Layout } from './layout.js';
import { needsFlags } from './liveness.js';
import { countPredecessors, hostOf, linkedHead, pageOf, type Region } from './region.js';
import { RegionCode } from './region-code.js';
import { EXECUTED, type Exits, RegionEngine } from './region-engine.js';

const at = vcpuState.offset;
const PAGE_BYTES = 4096;
const PAGE_MASK = ~0xfffn;

/** What holds the bases of the TLB's tables. */
type Tables = { readonly [table in 'tlbRead' | 'tlbWrite' | 'tlbExec']: Variable<32> };

/** What leaving a region hands to the code that does it. */
interface Leaving {
  /** Record to go on at, or of the jump that leaves, or the place of the link in it. */
  readonly record: Variable<32>;
  /** RIP to go on at. */
  readonly rip: Variable<64>;
  /** Start of the page of the block that is left, from the region's. */
  readonly page: Variable<64>;
}

/** Writes a region as one function (record, cpu), where `record` is the head of an entry. */
export class Translator implements Exits {
  readonly code = new RegionCode();
  readonly groups = new AccessGroups();
  private readonly engine = new RegionEngine(this, this);
  private readonly page: Variable<64>;
  private readonly budget: Variable<32>;
  private readonly tables: Tables;
  private readonly leaving: Leaving;
  private readonly layout: Layout;
  private toRecord: Branch = () => undefined;
  private toGivenUp: Branch = () => undefined;
  private toDispatch: Branch = () => undefined;
  private toLink: Branch = () => undefined;
  /** Edges that lead to a block; those from outside count twice. */
  private readonly predecessors: readonly number[];
  /** What produced the flags that a block with one predecessor finds. */
  private readonly carried: (Producer | null)[] = [];
  private readonly usedTables = new Set<keyof Tables>();
  /** Whether the blocks are on several pages. */
  private readonly isSpread: boolean;
  private usesLink = false;
  private usesDispatch = false;
  private block!: Block;
  private place = 0;
  private step = 0;

  constructor(
    private readonly region: Region,
    private readonly views: ArenaViews,
    private readonly meanings: Meanings,
    private readonly isLong: boolean,
    private readonly exitLog: ExitLog,
  ) {
    const { code } = this;
    this.predecessors = countPredecessors(region);
    this.isSpread = region.pages.length > 1 || region.blocks.some((block) => pageOf(block.offset) !== 0);
    this.page = code.declare(64);
    this.budget = code.declare(32);
    this.layout = new Layout(code, region, (place) => this.writeBlock(place));
    this.tables = { tlbRead: code.declare(32), tlbWrite: code.declare(32), tlbExec: code.declare(32) };
    this.leaving = { record: code.declare(32), rip: code.declare(64), page: code.declare(64) };
    this.write();
  }

  private write(): void {
    const { code } = this;
    code.block((toRecord) => {
      this.toRecord = toRecord;
      code.block((toGivenUp) => {
        this.toGivenUp = toGivenUp;
        code.block((toDispatch) => {
          this.toDispatch = toDispatch;
          code.block((toLink) => {
            this.toLink = toLink;
            this.body();
          });
          if (this.usesLink) this.leaveByLink();
        });
        if (this.usesDispatch) this.leaveByDispatch();
      });
      this.exitLog.writeGivenUp(code, this.leaving.record.get(), code.param(0, 32));
    });
    this.leaveToRecord();
  }

  private body(): void {
    const { code, region } = this;
    const [record, cpu] = [code.param(0, 32), code.cpu];
    const budget = code.loadState('i32.load', 32, at.budget);
    // Near the end of the budget the interpreter goes on: it stops at the very block.
    code.rarely(budget.ltS(region.instructions), () => code.tailCall(goToRecord, record.add(Record.BYTES), cpu));
    this.budget.set(budget);
    this.page.set(code.loadState('i64.load', 64, at.blockRip).and(PAGE_MASK));
    const prologue = code.later();
    this.layout.write(() => code.load('i32.load', 32, record, Record.ENTRY));
    prologue(() => {
      for (const name of this.usedTables) this.tables[name].set(code.loadState('i32.load', 32, at[name]));
      code.loadAll();
    });
  }

  private writeBlock(place: number): void {
    const { code, region } = this;
    const block = region.blocks[place] as Block;
    this.block = block;
    this.place = place;
    code.flags.producer = this.carried[place] ?? null;
    code.rip = () => this.ripAt(block.offset);
    this.groups.clear();
    code.startBlock();
    for (let i = 0; i < block.steps.length; i++) this.writeStep(i);
    this.step = block.steps.length;
    if (block.end === 'fall-through') this.fallThrough();
    else if (block.end === 'interpreter') this.leaveAt(block.last);
  }

  private writeStep(index: number): void {
    const { code, views } = this;
    this.step = index;
    const { record, facts } = this.block.steps[index]!;
    const fields = new ConstantFields(code, views, record);
    const x = new Context(code, code.cpu, facts, fields, this.engine, (home) => new RegionFlags(home, code.flags));
    code.inInstruction = true;
    try {
      this.meanings[facts.row.mnemonic]!(x);
    } catch (error) {
      if (error instanceof NotCompilable) error.row = facts.row.id;
      throw error;
    } finally {
      code.inInstruction = false;
    }
  }

  private ripAt(offset: number): Val<64> {
    return this.page.get().add(offset);
  }

  /** See {@link Exits}. */
  table(name: keyof Tables): Variable<32> {
    this.usedTables.add(name);
    return this.tables[name];
  }

  /** See {@link Exits}. */
  leave(): void {
    this.leaveAt(this.record, this.toGivenUp);
  }

  /** See {@link Exits}. */
  isGivenUp(): boolean {
    return this.exitLog.isGivenUp(this.record);
  }

  /** Record of the instruction at hand. */
  private get record(): number {
    return this.block.steps[this.step]!.record;
  }

  /** See {@link Exits}. */
  isLast(): boolean {
    const next = this.views.i32[(this.record + Record.BYTES) >>> 2]!;
    return next < Slot.FIRST_FREE && next !== Slot.SYSTEM;
  }

  /** See {@link Exits}. */
  isBeforeNop(): boolean {
    return this.views.u8[this.record + Record.BEFORE_NOP] !== 0;
  }

  private leaveAt(record: number, leave = this.toRecord): void {
    const { code, leaving } = this;
    code.flags.flush();
    leaving.record.set(code.constant(32, record));
    this.setPage(this.block);
    leave();
  }

  /** Says which page the block is on that is left, or gone on with. */
  private setPage({ offset }: Block): void {
    if (this.isSpread) this.leaving.page.set(this.code.constant(64, pageOf(offset) * PAGE_BYTES));
  }

  /** Start of that page. */
  private leavingPage(): Val<64> {
    const page = this.page.get();
    return this.isSpread ? page.add(this.leaving.page.get()) : page;
  }

  private charge(): void {
    this.budget.set(this.budget.get().sub(this.block.count));
  }

  /** See {@link Exits}. */
  jumpDirect(): void {
    this.follow(this.block.taken as Edge);
  }

  /** See {@link Exits}. */
  fallThrough(): void {
    this.follow(this.block.next as Edge);
  }

  private follow(edge: Edge): void {
    const { region, views, block } = this;
    this.charge();
    const target = region.places.get(linkedHead(views, block, edge));
    if (target === undefined) return this.leaveTo(edge);
    this.cross(target, () => this.leaveTo(edge));
    this.goTo(target);
  }

  /** Leaves unless a block, if it is of another page, still is where the region has it from. */
  private cross(target: number, leave: () => void): void {
    const { code, region, views, block } = this;
    const { offset, head } = region.blocks[target]!;
    if (pageOf(offset) === pageOf(block.offset)) return;
    const host = code.lookUp(this.ripAt(offset), this.table('tlbExec'), EXECUTED, leave);
    code.rarely(host.ne(hostOf(views, head)), leave);
  }

  private goTo(target: number): void {
    if (target > this.place) this.goForward(target);
    else this.goBackward(target);
  }

  private goForward(target: number): void {
    // Whoever is reached from here alone finds the flags as they are.
    if (this.predecessors[target] === 1) this.carried[target] = this.code.flags.producer;
    else if (needsFlags(this.views, this.region, this.region.blocks[target]!)) this.code.flags.flush();
    this.layout.forward(this.place, target);
  }

  private goBackward(target: number): void {
    const { code, region, leaving } = this;
    const block = region.blocks[target]!;
    const needed = needsFlags(this.views, region, block);
    if (needed) code.flags.flush();
    code.rarely(this.budget.get().ltS(region.instructions), () => {
      if (!needed) code.flags.flush();
      leaving.record.set(code.constant(32, block.head + Record.BYTES));
      this.setPage(block);
      this.toRecord();
    });
    this.layout.backward(target);
  }

  private leaveTo(edge: Edge): void {
    const { code, leaving, block } = this;
    code.flags.flush();
    leaving.rip.set(this.ripAt(edge.target));
    leaving.record.set(code.constant(32, block.last + edge.link));
    this.usesLink = true;
    this.toLink();
  }

  /** See {@link Exits}. */
  jumpIndirect(target: Val<64>): void {
    const { region } = this;
    this.charge();
    // To where it was seen to go, without a look-up.
    this.layout.select(target.sub(this.page.get()), region.targets[this.place]!, (place) => {
      this.cross(place, () => this.leaveByRip(target));
      this.goTo(place);
    });
    this.leaveByRip(target);
  }

  private leaveByRip(target: Val<64>): void {
    const { code, leaving, block } = this;
    code.flags.flush();
    leaving.record.set(code.constant(32, block.last));
    leaving.rip.set(target);
    this.setPage(block);
    this.usesDispatch = true;
    this.toDispatch();
  }

  private storeAll(): void {
    this.code.storeAll();
    this.code.storeState('i32.store', this.budget.get(), at.budget);
  }

  private leaveToRecord(): void {
    const { code, leaving } = this;
    this.storeAll();
    // The block's RIP by its head, which is before its first record.
    const record = leaving.record.get();
    const head = record.sub(code.load('i32.load8_u', 32, record, Record.INDEX).shl(5)).sub(Record.BYTES);
    const offset = code.load('i32.load', 32, head, Record.HOST).and(PAGE_BYTES - 1);
    code.storeState('i64.store', this.leavingPage().add(offset.zext(64)), at.blockRip);
    code.tailCall(goToRecord, record, code.cpu);
  }

  private leaveByDispatch(): void {
    const { code, leaving } = this;
    this.storeAll();
    this.exitLog.writeJump(code, leaving.record.get(), leaving.rip.get().sub(this.leavingPage()).trunc(32), code.param(0, 32));
    code.storeState('i64.store', leaving.rip.get(), at.rip);
    code.tailCall(dispatchTargets.near, leaving.record.get(), code.cpu);
  }

  private leaveByLink(): void {
    const { code, leaving } = this;
    this.storeAll();
    const place = leaving.record.get();
    const link = code.load('i32.load', 32, place);
    // Outside of 64-bit code RIP wraps behind the last page.
    const rip = this.isLong ? leaving.rip.get() : leaving.rip.get().and(0xffffffffn);
    code.if(link.gtU(1), () => {
      code.storeState('i64.store', rip, at.blockRip);
      code.tailCall(goToRecord, link, code.cpu);
    });
    code.storeState('i64.store', rip, at.rip);
    code.if(link, () => this.exitLog.writeFar(code, place, code.param(0, 32)));
    const isNext = place.and(Record.BYTES - 1).eq(Record.LINK_NEXT);
    const reason = code.select(isNext, code.constant(32, ExitReason.LINK_NEXT), code.constant(32, ExitReason.LINK_TAKEN));
    code.tailCall(jumpSlow, place.and(-Record.BYTES), code.cpu, link, reason);
  }
}
