import { goToRecord, Record, readTime, Slot } from '@nestvm/cpu/compiling';
import type { Branch, FunctionRef, Val, Variable } from '@nestvm/emit';
import { vcpuState } from '@nestvm/isa';
import { Context, type Meanings } from '@nestvm/semantics';
import { AccessGroups, type Group } from './access-groups.js';
import type { ArenaViews } from './arena-views.js';
import { type Block, type Edge, isReturn } from './block.js';
import { NotCompilable } from './errors.js';
import type { ExitLog } from './exit-log.js';
import { ConstantFields } from './fields.js';
import { type KnownFlags, UNKNOWN_FLAGS } from './flag-state.js';
import { RegionFlags } from './flags.js';
import { headAt } from './heat.js';
import { Layout } from './layout.js';
import { needsFlags } from './liveness.js';
import { countPredecessors, hostOf, linkedHead, pageOf, type Region } from './region.js';
import { RegionCode } from './region-code.js';
import { EXECUTED, type Exits, RegionEngine } from './region-engine.js';
import { goalOf, Leave, NO_FLAGS } from './way-out.js';

const at = vcpuState.offset;
const PAGE_BYTES = 4096;
const PAGE_MASK = ~0xfffn;

/** What holds the bases of the TLB's tables. */
type Tables = { readonly [table in 'tlbRead' | 'tlbWrite' | 'tlbExec']: Variable<32> };

/** What leaving a region hands to the code that does it: see `defineWayOut`. */
interface Leaving {
  /** Record to go on at, or of the jump that leaves, or the place of the link in it; and a `Leave`. */
  readonly place: Variable<32>;
  /** RIP to go on at, from the start of the region's page. */
  readonly rip: Variable<64>;
  /** Start of the page of the block that is left, from the region's; or the goal of the link. */
  readonly page: Variable<64>;
}

/** Whether a block ends in a jump that goes one of two ways, and can do nothing else. */
const isConditional = ({ taken, next }: Block): boolean => taken !== null && next !== null;

/** Blocks of a region with loops from which on its integer registers are no variables. */
const MOST_IN_VARIABLES = 16;

/**
 * Whether a region's integer registers stay in the vCPU's state. Variables are worth it in small loops. Elsewhere all ways out and all places where ways meet have to agree on what is
 * where: machine code is a quarter larger, for registers that are loaded and stored anyway.
 */
const staysInState = ({ blocks, pieces }: Region): boolean => blocks.length > MOST_IN_VARIABLES || pieces.every(({ kind }) => kind === 'block');

/** Writes a region as one function (record, cpu), where `record` is the head of an entry. */
export class Translator implements Exits {
  readonly code: RegionCode;
  readonly groups = new AccessGroups();
  private readonly engine: RegionEngine;
  private readonly page: Variable<64>;
  private readonly budget: Variable<32>;
  private readonly tables: Tables;
  private readonly leaving: Leaving;
  private readonly layout: Layout;
  private out: Branch = () => undefined;
  /** Edges that lead to a block; those from outside count twice. */
  private readonly predecessors: readonly number[];
  /** What is known of the flags that a block with one predecessor finds. */
  private readonly carried: KnownFlags[] = [];
  /** The same of registers that are not in variables. */
  private readonly carriedRegisters: (ReadonlyMap<number, Val<64>> | undefined)[] = [];
  private readonly usedTables = new Set<keyof Tables>();
  /** Where their bases are loaded. */
  private readonly tableLoads: ((write: () => void) => void)[] = [];
  /** Whether ways out say which page they leave: where blocks are on several, or in its place where they lead. */
  private readonly givesPage: boolean;
  /** The same of look-ups. */
  private readonly carriedGroups: (ReadonlyMap<string, Group> | undefined)[] = [];
  private block!: Block;
  private place = 0;
  private step = 0;

  constructor(
    private readonly region: Region,
    private readonly views: ArenaViews,
    private readonly meanings: Meanings,
    private readonly exitLog: ExitLog,
    private readonly wayOut: FunctionRef,
    private readonly isLong: boolean,
  ) {
    const code = new RegionCode(staysInState(region));
    this.code = code;
    this.engine = new RegionEngine(this, this);
    this.predecessors = countPredecessors(region);
    this.givesPage = isLong || region.pages.length > 1 || region.blocks.some((block) => pageOf(block.offset) !== 0);
    this.page = code.declare(64);
    this.budget = code.declare(32);
    this.layout = new Layout(code, region, (place) => this.writeBlock(place));
    this.tables = { tlbRead: code.declare(32), tlbWrite: code.declare(32), tlbExec: code.declare(32) };
    this.leaving = { place: code.declare(32), rip: code.declare(64), page: code.declare(64) };
    this.write();
  }

  private write(): void {
    const { code } = this;
    code.block((out) => {
      this.out = out;
      this.body();
    });
    this.leaveRegion();
  }

  private body(): void {
    const { code, region } = this;
    const [record, cpu] = [code.param(0, 32), code.cpu];
    const budget = code.loadState('i32.load', 32, at.budget);
    // Near the end of the budget the interpreter goes on: it stops at the very block.
    code.rarely(budget.ltS(region.instructions), () => code.tailCall(goToRecord, record.add(Record.BYTES), cpu));
    this.budget.set(budget);
    this.page.set(code.loadState('i64.load', 64, at.blockRip).and(PAGE_MASK));
    this.tablesMoved();
    const prologue = code.later();
    this.layout.write(() => code.load('i32.load', 32, record, Record.ENTRY));
    for (const load of this.tableLoads) load(() => this.loadTables());
    prologue(() => code.loadAll());
  }

  /** See {@link Exits}. */
  tablesMoved(): void {
    this.tableLoads.push(this.code.later());
  }

  /** Loads the bases of the tables that the region turned out to use. */
  private loadTables(): void {
    for (const name of this.usedTables) this.tables[name].set(this.code.loadState('i32.load', 32, at[name]));
  }

  private writeBlock(place: number): void {
    const { code, region } = this;
    const block = region.blocks[place] as Block;
    this.block = block;
    this.place = place;
    code.flags.resume(this.carried[place] ?? UNKNOWN_FLAGS);
    code.rip = () => this.ripAt(block.offset);
    this.groups.resume(this.carriedGroups[place]);
    code.startBlock(this.carriedRegisters[place]);
    for (let i = 0; i < block.steps.length; i++) {
      if (i === block.steps.length - 1 && isConditional(block)) this.charge();
      this.writeStep(i);
    }
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
  time(): Val<64> {
    const { code, budget } = this;
    // At length it looks at the count of instructions, and may ask for the engine to stop soon.
    code.storeState('i32.store', budget.get(), at.budget);
    const ticks = code.call(readTime, 64, code.constant(32, this.record), code.cpu, budget.get());
    budget.set(code.loadState('i32.load', 32, at.budget));
    return ticks;
  }

  /** See {@link Exits}. */
  prepare(): void {
    const { flags, registers } = this.code;
    if (flags.depth > 0) return;
    // All ways out up to the next producer then find the flags in the variables.
    flags.flush();
    registers?.save();
  }

  /** See {@link Exits}. */
  leave(): void {
    this.leaveAt(this.record, Leave.GIVEN_UP);
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

  private leaveAt(record: number, how: number = Leave.RECORD): void {
    this.code.flags.flushAside();
    this.setPage(this.block);
    this.goOut(record, how);
  }

  /** Says which page the block is on that is left, or gone on with. */
  private setPage({ offset }: Block): void {
    if (this.givesPage) this.leaving.page.set(this.code.constant(64, pageOf(offset) * PAGE_BYTES));
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
    this.code.registers?.save();
    if (!isConditional(block)) this.charge();
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
    // Whoever is reached from here alone finds flags and registers as they are.
    const { flags, registers } = this.code;
    if (this.predecessors[target] === 1) {
      this.carried[target] = flags.state;
      this.carriedRegisters[target] = registers?.known;
      this.carriedGroups[target] = this.groups.known;
    } else if (needsFlags(this.views, this.region, this.region.blocks[target]!)) flags.flush();
    this.layout.forward(this.place, target);
  }

  private goBackward(target: number): void {
    const { code, region } = this;
    const block = region.blocks[target]!;
    const needed = needsFlags(this.views, region, block);
    if (needed) code.flags.flush();
    code.rarely(this.budget.get().ltS(region.instructions), () => {
      code.flags.flushAside();
      this.setPage(block);
      this.goOut(block.head + Record.BYTES, Leave.RECORD);
    });
    this.layout.backward(target);
  }

  private leaveTo(edge: Edge): void {
    const { code, leaving, block } = this;
    code.flags.flushAside();
    leaving.rip.set(code.constant(64, edge.target));
    if (this.isLong) leaving.page.set(code.constant(64, this.goalOf(edge)));
    this.goOut(block.last + edge.link, Leave.LINK);
  }

  /** Where a link leads, and where a call returns to, as far as that is known by now. */
  private goalOf(edge: Edge): bigint {
    const { views, region, block } = this;
    return goalOf(headAt(views, linkedHead(views, block, edge)), !edge.isInside, pageOf(block.offset) === 0 ? region.returnHeads[this.place]! : 0);
  }

  /** See {@link Exits}. */
  jumpIndirect(target: Val<64>): void {
    const { region } = this;
    this.code.registers?.save();
    if (!isConditional(this.block)) this.charge();
    // To where it was seen to go, without a look-up.
    this.layout.select(target.sub(this.page.get()), region.targets[this.place]!, (place) => {
      this.cross(place, () => this.leaveByRip(target));
      this.goTo(place);
    });
    this.leaveByRip(target);
  }

  private leaveByRip(target: Val<64>): void {
    const { code, leaving, block } = this;
    code.flags.flushAside();
    leaving.rip.set(target.sub(this.page.get()));
    this.setPage(block);
    this.goOut(block.last, isReturn(block) || block.end === 'departure' ? Leave.RETURN : Leave.JUMP);
  }

  private goOut(place: number, how: number): void {
    this.code.registers?.saveAside();
    this.leaving.place.set(this.code.constant(32, place | how));
    this.out();
  }

  /** Where all ways out come together. */
  private leaveRegion(): void {
    const { code, leaving } = this;
    const { kind, a, b } = code.flags.variables;
    code.storeAll();
    code.storeState('i32.store', this.budget.get(), at.budget);
    // Variables that are never set may hold anything.
    const page = this.givesPage ? leaving.page.get() : code.constant(64, 0);
    const none = code.constant(64, 0);
    const flags = code.flags.isUsed ? ([kind.get(), a.get(), b.get()] as const) : ([code.constant(32, NO_FLAGS), none, none] as const);
    code.tailCall(this.wayOut, leaving.place.get(), code.cpu, leaving.rip.get(), page, code.param(0, 32), ...flags);
  }
}
