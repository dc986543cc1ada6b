import { refill, writeSwitch } from '@nestvm/cpu/compiling';
import { type Code, type IntWidth, LOAD, type LookUpForm, STORE, type Val, type Variable } from '@nestvm/emit';
import type { Context, Engine, Place } from '@nestvm/semantics';
import type { AccessGroups } from './access-groups.js';
import { NotCompilable } from './errors.js';
import type { RegionCode } from './region-code.js';

type MemoryWidth = IntWidth | 128;
/** The TLB's tables, by the bytes of the access: see the architecture's "TLB". */
const FORMS: readonly LookUpForm[] = Array.from({ length: 65 }, (_, bytes) => ({
  bias: 0,
  shift: 8,
  mask: 1023 << 4,
  span: bytes - 1,
  tagMask: ~0xfff,
  addend: 8,
}));

/** The table of what may be executed. */
export const EXECUTED = FORMS[1] as LookUpForm;

/** What the engine needs from the region that it writes for. */
export interface Exits {
  /** What holds the base of a TLB table. */
  table(name: 'tlbRead' | 'tlbWrite'): Variable<32>;
  /** Says that the tables of the TLB are others from here on. */
  tablesMoved(): void;
  /** Says that the code that follows may leave. */
  prepare(): void;
  /** Leaves to the interpreter at the present instruction, which has changed nothing yet. */
  leave(): void;
  /** Whether the present instruction was left to the interpreter often. */
  isGivenUp(): boolean;
  jumpDirect(): void;
  fallThrough(): void;
  jumpIndirect(target: Val<64>): void;
  /** The time-stamp counter. */
  time(): Val<64>;
  isLast(): boolean;
  isBeforeNop(): boolean;
}

/** The engine of compiled code: memory through the TLB; whatever is not plain leaves to the interpreter, at the same instruction. */
export class RegionEngine implements Engine {
  /** The others count their turns from where they began, which only the interpreter does. */
  readonly onlyWhole = true;

  constructor(
    private readonly exits: Exits,
    private readonly home: { readonly code: RegionCode; readonly groups: AccessGroups },
  ) {}

  /** Host address of an access, or the region is left. */
  private host(x: Context, table: 'tlbRead' | 'tlbWrite', linear: Val<64>, bytes: number): Val<32> {
    const { exits } = this;
    if (exits.isGivenUp()) return this.hostOrRefill(x, table, linear, bytes);
    const { code, groups } = this.home;
    const place = code.placeOf(linear);
    if (place === null) {
      exits.prepare();
      return x.code.lookUp(linear, exits.table(table), FORMS[bytes]!, () => exits.leave());
    }
    const known = groups.find(table, place, bytes);
    if (known !== null) return known;
    exits.prepare();
    const form = { ...FORMS[bytes]! };
    const host = x.code.lookUp(linear, exits.table(table), form, () => exits.leave());
    if (code.flags.depth === 0) groups.add(table, place, { form, host });
    return host;
  }

  /** The same where look-ups often fail: what the TLB's second level or a walk finds will do. */
  private hostOrRefill(x: Context, table: 'tlbRead' | 'tlbWrite', linear: Val<64>, bytes: number): Val<32> {
    const { code } = x;
    const { shift, mask, span, tagMask, addend } = FORMS[bytes]!;
    const low = linear.trunc(32);
    const entry = this.exits.table(table).get().add(low.shrU(shift).and(mask));
    const hit = code.load('i64.load', 64, entry).eq(linear.add(span).and(tagMask));
    return code.choose(
      hit,
      32,
      () => low.add(code.load('i32.load', 32, entry, addend)),
      () => {
        const found = code.call(refill[table], 32, code.constant(32, 0), x.cpu, linear, code.constant(32, bytes));
        code.rarely(found.isZero(), () => this.exits.leave());
        return found;
      },
    );
  }

  load<W extends MemoryWidth>(x: Context, width: W, linear: Val<64>): Val<W> {
    return x.code.load(LOAD[width], width, this.host(x, 'tlbRead', linear, width / 8));
  }

  store<W extends MemoryWidth>(x: Context, width: W, linear: Val<64>, value: Val<W>): void {
    x.code.store(STORE[width], this.host(x, 'tlbWrite', linear, width / 8), value);
  }

  modify<W extends MemoryWidth>(x: Context, width: W, linear: Val<64>): Place<W> {
    const host = this.host(x, 'tlbWrite', linear, width / 8);
    return {
      read: () => x.code.load(LOAD[width], width, host),
      write: (value) => x.code.store(STORE[width], host, value),
    };
  }

  probeWrite(x: Context, bytes: number, linear: Val<64>): void {
    this.host(x, 'tlbWrite', linear, bytes);
  }

  hostAddress(x: Context, linear: Val<64>, access: 0 | 1): Val<32> {
    return this.host(x, access === 1 ? 'tlbWrite' : 'tlbRead', linear, 1);
  }

  reach(): Val<32> {
    throw new NotCompilable('a run over pages');
  }

  checkSegment(): Val<64> {
    throw new NotCompilable('a checked segment');
  }

  fault(): void {
    this.exits.leave();
  }

  next(): void {
    throw new NotCompilable('an instruction that goes on by itself');
  }

  jumpDirect(): void {
    this.exits.jumpDirect();
  }

  fallThrough(): void {
    this.exits.fallThrough();
  }

  jumpIndirect(_x: Context, target: Val<64>): void {
    this.exits.jumpIndirect(target);
  }

  repeat(): void {
    throw new NotCompilable('a repeated instruction');
  }

  system(): void {
    this.exits.leave();
  }

  interrupt(): void {
    this.exits.leave();
  }

  forgetPage(): void {
    throw new NotCompilable('a page that is forgotten');
  }

  switchBank(x: Context, privilege: Val<32>): void {
    const { code, groups } = this.home;
    this.exits.prepare();
    writeSwitch(code, x.cpu, privilege, () => this.exits.leave());
    this.exits.tablesMoved();
    groups.clear();
  }

  time(): Val<64> {
    return this.exits.time();
  }

  /** Nothing for instructions that are rarely what they are taken for: those are carried out at length. */
  get giveUp(): (() => void) | undefined {
    return this.exits.isGivenUp() ? undefined : () => this.exits.leave();
  }

  isBeforeNop(x: Context): Val<32> {
    return (x.code as Code).constant(32, this.exits.isBeforeNop() ? 1 : 0);
  }

  isLast(x: Context): Val<32> {
    return (x.code as Code).constant(32, this.exits.isLast() ? 1 : 0);
  }
}
