import { PrivilegeClass } from '@nestvm/isa';
import type { Arena } from '@nestvm/memory';
import { array, struct, u32 } from '@nestvm/state';
import { Context } from '../context.js';

/**
 * What generated code must know of a TLB bank to put it in force: `bank` of the vCPU state holds the place of the one that is. `links` are the banks of the same context in the other
 * classes of privilege (by `PrivilegeClass`; 0 where none is known). A stale bank must be cleared first, which is TypeScript's work.
 */
export const tlbBank = struct('tlb bank', 1, {
  /** Arena offset of the tables. */
  tables: u32,
  /** The `Context` word. */
  context: u32,
  /** Arena offset of the `Journal`. */
  journal: u32,
  /** Not 0: everything in it has been invalidated. */
  stale: u32,
  links: array(u32, 3),
  /** A number that banks of one tag share, times `GROUP_PCIDS`, and the PCID; 0: it has never belonged to a context. */
  group: u32,
});

const at = tlbBank.offset;
/** See `group` of `tlbBank`. */
export const GROUP_PCIDS = 4096;
/** Bytes from one bank's struct to the next. */
export const TLB_BANK_STRUCT_BYTES = tlbBank.size;
const BYTES = TLB_BANK_STRUCT_BYTES;
const [TABLES, CONTEXT, JOURNAL, STALE, LINKS, GROUP] = [at.tables / 4, at.context / 4, at.journal / 4, at.stale / 4, at.links / 4, at.group / 4];

/** The `PrivilegeClass` of a context. */
const privilegeClass = (context: number): number =>
  (context & Context.USER) !== 0 ? PrivilegeClass.USER : (context & Context.AC) !== 0 ? PrivilegeClass.SUPERVISOR_AC : PrivilegeClass.SUPERVISOR;

/** The structs of a pool's banks, and which of them is in force: both generated code and TypeScript change that. */
export class Banks {
  /** False: generated code finds no bank by itself, since what it uses is not the banks' own tables. */
  areLinked = true;
  private readonly i32: Int32Array;
  private readonly base: number;

  constructor(
    arena: Arena,
    name: string,
    private readonly count: number,
    /** Word of the arena that holds the place of the bank in force. */
    private readonly forceWord: number,
    placeOf: (bank: number) => { readonly tables: number; readonly journal: number },
  ) {
    this.i32 = arena.i32;
    this.base = arena.allocate(`${name} banks`, count * BYTES);
    for (let bank = 0; bank < count; bank++) {
      const { tables, journal } = placeOf(bank);
      this.i32[this.word(bank) + TABLES] = tables;
      this.i32[this.word(bank) + JOURNAL] = journal;
    }
    this.current = 0;
  }

  private word(bank: number): number {
    return (this.base + bank * BYTES) >>> 2;
  }

  /** The bank in force. */
  get current(): number {
    return (this.i32[this.forceWord]! - this.base) / BYTES;
  }

  set current(bank: number) {
    this.i32[this.forceWord] = this.base + bank * BYTES;
  }

  /** The context of the bank in force. */
  get context(): number {
    return this.i32[(this.i32[this.forceWord]! >>> 2) + CONTEXT]!;
  }

  contextOf(bank: number): number {
    return this.i32[this.word(bank) + CONTEXT]!;
  }

  isStale(bank: number): boolean {
    return this.i32[this.word(bank) + STALE] !== 0;
  }

  setStale(bank: number, stale: 0 | 1): void {
    this.i32[this.word(bank) + STALE] = stale;
  }

  /** Gives a bank to a context; no links lead to it or from it any more. */
  bind(bank: number, context: number): void {
    const { i32 } = this;
    const place = this.base + bank * BYTES;
    for (let other = 0; other < this.count; other++) {
      const links = this.word(other) + LINKS;
      for (let i = links; i < links + 3; i++) if (other === bank || i32[i] === place) i32[i] = 0;
    }
    i32[this.word(bank) + CONTEXT] = context;
    if (this.areLinked) i32[this.word(bank) + LINKS + privilegeClass(context)] = place;
  }

  groupOf(bank: number): number {
    return this.i32[this.word(bank) + GROUP]!;
  }

  setGroup(bank: number, group: number): void {
    this.i32[this.word(bank) + GROUP] = group;
  }

  /** Arena offset of a bank's struct. */
  offset(bank: number): number {
    return this.base + bank * BYTES;
  }

  /** Links two banks whose contexts differ in their classes alone. */
  link(a: number, b: number): void {
    if (!this.areLinked) return;
    this.i32[this.word(a) + LINKS + privilegeClass(this.contextOf(b))] = this.base + b * BYTES;
    this.i32[this.word(b) + LINKS + privilegeClass(this.contextOf(a))] = this.base + a * BYTES;
  }

  /** Calls `visit` with the bank in force and those that are linked to it. */
  forFamily(visit: (bank: number) => void): void {
    const links = this.word(this.current) + LINKS;
    for (let i = links; i < links + 3; i++) if (this.i32[i] !== 0) visit((this.i32[i]! - this.base) / BYTES);
  }
}
