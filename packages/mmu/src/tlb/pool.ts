import type { Arena } from '@nestvm/memory';
import { Context } from '../context.js';
import { Banks, GROUP_PCIDS } from './bank.js';
import { JOURNAL_FILLS, Journal } from './journal.js';
import { LargePages } from './large-pages.js';
import {
  SECOND_TLB_ENTRIES,
  secondTlbIndex,
  secondTlbOffset,
  TLB_BANK_BYTES,
  TLB_ENTRIES,
  TLB_ENTRY_BYTES,
  TLB_TABLE_BYTES,
  TlbTable,
  TRAPPING,
} from './layout.js';
import { StructureCache } from './structure-cache.js';

const ENTRY_WORDS = TLB_ENTRY_BYTES / 4;
const TABLE_WORDS = TLB_TABLE_BYTES / 4;
const HINTS = 64;
const MAX_GROUP = 0x7fff_ffff / GROUP_PCIDS - 1;
/** First word of each second level in a bank. */
const SECOND = [0, 1, 2].map((table) => table * TABLE_WORDS + secondTlbOffset(table) / 4);
const SECOND_WRITES = SECOND[TlbTable.WRITE]!;
const SECOND_WORDS = SECOND_TLB_ENTRIES * ENTRY_WORDS;
const JOURNAL_WORDS = Journal.BYTES / 4;
const FILLS = Journal.FILLS / 4;
const LOG = Journal.LOG / 4;

/**
 * The TLB banks of one vCPU. A bank belongs to one context: a `Context` word, PKRU, PKRS and the number of a space. Switching contexts picks a bank and flushes
 * nothing; an invalidation marks the banks it concerns stale, and a stale bank is cleared when it is used again. The mark does what a generation
 * counter would: with this few banks, marking them costs less than comparing counters at each switch.
 */
export class TlbPool {
  /** The space in force: its number (0: root mode), VPID or ASID, and the root of its second stage (-1: none). */
  space = 0;
  tag = 0;
  root = -1;
  readonly structures: StructureCache;
  /** Goes up with everything that is forgotten. */
  epoch = 0;
  /** Told whenever entries may have gone, and when another bank comes into force: for the sanitizer, which keeps copies. */
  onForget: (() => void) | null = null;
  /** Told where the structs (`tlbBank`) of the banks begin and end that have ever belonged to a context, when these become more. */
  onBound: (first: number, end: number) => void = () => {};
  private readonly base: number;
  private readonly i32: Int32Array;
  private readonly u8: Uint8Array;
  private readonly members: Banks;
  private readonly pkru: Int32Array;
  private readonly pkrs: Int32Array;
  private readonly spaces: Int32Array;
  private readonly tags: Float64Array;
  private readonly roots: Float64Array;
  /** 1: belongs to a context. A free bank is clean. */
  private readonly bound: Uint8Array;
  private readonly journals: number;
  private readonly lastUse: Float64Array;
  private readonly hints = new Int32Array(HINTS);
  private readonly large: LargePages;
  private clock = 0;
  private groups = 0;
  /** Banks from this one on have never belonged to a context, and are empty. */
  private boundBanks = 0;

  constructor(
    arena: Arena,
    name: string,
    readonly banks: number,
    /** Word of the arena that holds the place of the bank in force: see `tlbBank`. */
    forceWord: number,
  ) {
    this.base = arena.allocate(name, banks * TLB_BANK_BYTES, 4096);
    this.i32 = arena.i32;
    this.u8 = arena.u8;
    this.pkru = new Int32Array(banks);
    this.pkrs = new Int32Array(banks);
    this.spaces = new Int32Array(banks);
    this.tags = new Float64Array(banks);
    this.roots = new Float64Array(banks);
    this.bound = new Uint8Array(banks);
    this.journals = arena.allocate(`${name} journals`, banks * Journal.BYTES);
    this.lastUse = new Float64Array(banks);
    this.large = new LargePages(arena.i32, this.journals / 4);
    this.structures = new StructureCache(banks);
    this.members = new Banks(arena, name, banks, forceWord, (bank) => ({ tables: this.offset(bank), journal: this.journal(bank) }));
    this.u8.fill(0xff, this.base, this.base + banks * TLB_BANK_BYTES);
  }

  /** Keeps generated code from changing banks by itself. */
  unlink(): void {
    this.members.areLinked = false;
  }

  /** Bank in force. */
  get current(): number {
    return this.members.current;
  }

  /** The context in force: a `Context` word. */
  get context(): number {
    return this.members.context;
  }

  /** Arena offset of a bank's first table. */
  offset(bank: number): number {
    return this.base + bank * TLB_BANK_BYTES;
  }

  /** Arena offset of a bank's `Journal`. */
  journal(bank: number): number {
    return this.journals + bank * Journal.BYTES;
  }

  /** Word of a bank's journal. */
  private ledger(bank: number): number {
    return this.journals / 4 + bank * JOURNAL_WORDS;
  }

  private fills(bank: number): number {
    return this.i32[this.ledger(bank) + FILLS]!;
  }

  /** Makes the bank of a context in the space in force current, clean of everything that was invalidated, and returns its number. */
  select(key: number, pkru: number, pkrs: number): number {
    const { members, current } = this;
    const bank = this.find(key, pkru, pkrs);
    if (bank !== current) {
      this.onForget?.();
      if (this.isFamily(current, key, pkru, pkrs)) members.link(current, bank);
      // Generated code has switched between these without a word.
      else members.forFamily(this.touch);
      members.current = bank;
    }
    this.lastUse[bank] = ++this.clock;
    if (members.isStale(bank)) this.clear(bank);
    return bank;
  }

  /** Word in the arena of the entry that an address has in a table of the current bank. */
  slot(table: number, lo: number): number {
    return this.offset(this.current) / 4 + table * TABLE_WORDS + ((lo >>> 12) & (TLB_ENTRIES - 1)) * ENTRY_WORDS;
  }

  /** Puts a translation into a table of the current bank; `sizeShift` is log2 of the page that the guest maps. */
  fill(table: number, lo: number, hi: number, addend: number, page: number, sizeShift: number): void {
    const [at, second] = [this.slot(table, lo), this.secondSlot(table, lo)];
    this.put(at, lo, hi, addend, page);
    this.put(second, lo, hi, addend, page);
    this.note(at, second, lo, hi, sizeShift);
  }

  /** The same for writes to a page of code: the second level alone has it, marked as `TRAPPING`. */
  fillTrapping(lo: number, hi: number, addend: number, page: number, sizeShift: number): void {
    const second = this.secondSlot(TlbTable.WRITE, lo);
    this.put(second, lo, hi, addend | TRAPPING, page);
    this.note(second, second, lo, hi, sizeShift);
  }

  private secondSlot(table: number, lo: number): number {
    return this.offset(this.current) / 4 + SECOND[table]! + secondTlbIndex(lo) * ENTRY_WORDS;
  }

  /** Two entries of the current bank were filled. */
  private note(at: number, second: number, lo: number, hi: number, sizeShift: number): void {
    const bank = this.current;
    const journal = this.ledger(bank);
    const fills = this.i32[journal + FILLS]!;
    if (fills <= JOURNAL_FILLS) this.i32[journal + FILLS] = fills + 1;
    if (fills < JOURNAL_FILLS) {
      this.i32[journal + LOG + 2 * fills] = at;
      this.i32[journal + LOG + 2 * fills + 1] = second;
    }
    if (sizeShift > 12) this.large.note(bank, lo, hi, sizeShift);
  }

  private put(at: number, lo: number, hi: number, addend: number, page: number): void {
    const { i32 } = this;
    i32[at] = lo & ~0xfff;
    i32[at + 1] = hi;
    i32[at + 2] = addend;
    i32[at + 3] = page | 0;
  }

  /**
   * Forgets the page of one linear address in all banks of a tag (-1: any) with `(key & mask) === match`, together with the rest of a large page it lies in
   * ("INVLPG and page faults ... invalidate all TLB entries corresponding to the translation", SDM Vol. 3, "Details of TLB Use"), and the paging-structure
   * caches: all of them (`structures`, what INVLPG demands) or those of this address (what a fault does).
   */
  invalidatePage(tag: number, lo: number, hi: number, mask: number, match: number, structures: boolean): void {
    this.epoch++;
    this.onForget?.();
    for (let bank = 0; bank < this.boundBanks; bank++) {
      if ((tag >= 0 && this.tags[bank] !== tag) || (this.members.contextOf(bank) & mask) !== match || this.members.isStale(bank)) continue;
      if (structures) this.structures.clear(bank);
      else this.structures.drop(bank, lo, hi);
      if (this.fills(bank) === 0) continue;
      this.dropSlot(bank, lo, hi);
      if (this.large.mayHold(bank, lo, hi)) this.dropLarge(bank, lo, hi);
    }
  }

  /** Forgets everything in all banks of a tag (-1: any) with `(key & mask) === match`. */
  invalidate(tag: number, mask: number, match: number): void {
    this.epoch++;
    for (let bank = 0; bank < this.banks; bank++) {
      if ((tag < 0 || this.tags[bank] === tag) && (this.members.contextOf(bank) & mask) === match) this.members.setStale(bank, 1);
    }
    this.clearCurrent();
  }

  /** Forgets everything in all banks whose tag is not 0. */
  invalidateTagged(): void {
    this.epoch++;
    for (let bank = 0; bank < this.banks; bank++) {
      if (this.tags[bank] !== 0) this.members.setStale(bank, 1);
    }
    this.clearCurrent();
  }

  /** Forgets everything that was translated through the second stage with a root (-1: through any). */
  invalidateRoot(root: number): void {
    this.epoch++;
    for (let bank = 0; bank < this.banks; bank++) {
      if (this.roots[bank]! >= 0 && (root < 0 || this.roots[bank] === root)) this.members.setStale(bank, 1);
    }
    this.clearCurrent();
  }

  /** Takes write access to an arena page (-1: to every page) away in all banks. */
  dropWrites(arenaPage: number): void {
    this.onForget?.();
    for (let bank = 0; bank < this.banks; bank++) {
      if (this.fills(bank) === 0 || this.members.isStale(bank)) continue;
      this.dropArenaPage(bank, arenaPage);
    }
  }

  /** Forgets one entry of a table of the current bank, and one of its second level. */
  evict(table: number, index: number): void {
    this.epoch++;
    this.onForget?.();
    this.drop(this.slot(table, index << 12));
    this.drop(this.offset(this.current) / 4 + SECOND[table]! + (index & (SECOND_TLB_ENTRIES - 1)) * ENTRY_WORDS);
  }

  /** Forgets everything in the current bank. */
  forgetCurrent(): void {
    this.epoch++;
    this.members.setStale(this.current, 1);
    this.clearCurrent();
  }

  private find(key: number, pkru: number, pkrs: number): number {
    const hash = (Math.imul(key ^ Math.imul(pkru, 0x85ebca6b) ^ pkrs ^ Math.imul(this.space, 0x27d4eb2f), 0x9e3779b1) >>> 26) & (HINTS - 1);
    const hint = this.hints[hash]!;
    if (this.is(hint, key, pkru, pkrs)) return hint;
    this.members.forFamily(this.touch);
    let oldest = 0;
    for (let bank = 0; bank < this.banks; bank++) {
      if (this.is(bank, key, pkru, pkrs)) return (this.hints[hash] = bank);
      if (this.lastUse[bank]! < this.lastUse[oldest]!) oldest = bank;
    }
    this.bind(oldest, key, pkru, pkrs);
    return (this.hints[hash] = oldest);
  }

  private readonly touch = (bank: number): void => {
    this.lastUse[bank] = ++this.clock;
  };

  /** Whether a bank's context is this one but for the class of privilege. */
  private isFamily(bank: number, key: number, pkru: number, pkrs: number): boolean {
    const classes = ~(Context.USER | Context.AC);
    if (((this.members.contextOf(bank) ^ key) & classes) !== 0) return false;
    return this.spaces[bank] === this.space && this.pkru[bank] === pkru && this.pkrs[bank] === pkrs && this.bound[bank] === 1;
  }

  private is(bank: number, key: number, pkru: number, pkrs: number): boolean {
    return (
      this.members.contextOf(bank) === key &&
      this.spaces[bank] === this.space &&
      this.pkru[bank] === pkru &&
      this.pkrs[bank] === pkrs &&
      this.bound[bank] === 1
    );
  }

  private bind(bank: number, key: number, pkru: number, pkrs: number): void {
    this.epoch++;
    this.members.setStale(bank, 1);
    this.members.bind(bank, key);
    this.pkru[bank] = pkru;
    this.pkrs[bank] = pkrs;
    this.spaces[bank] = this.space;
    this.tags[bank] = this.tag;
    this.roots[bank] = this.root;
    this.bound[bank] = 1;
    if (bank >= this.boundBanks) {
      this.boundBanks = bank + 1;
      this.onBound(this.members.offset(0), this.members.offset(this.boundBanks));
    }
    this.members.setGroup(bank, this.groupFor(bank));
  }

  /** See `group` of `tlbBank`. */
  private groupFor(bank: number): number {
    const { members, tags } = this;
    const pcid = (members.contextOf(bank) & Context.PCID) >>> Context.PCID_SHIFT;
    for (let other = 0; other < this.boundBanks; other++) {
      const group = members.groupOf(other);
      if (other !== bank && tags[other] === tags[bank] && group !== 0) return group - (group % GROUP_PCIDS) + pcid;
    }
    this.groups = (this.groups % MAX_GROUP) + 1;
    return this.groups * GROUP_PCIDS + pcid;
  }

  private clearCurrent(): void {
    this.onForget?.();
    if (this.members.isStale(this.current)) this.clear(this.current);
  }

  private clear(bank: number): void {
    this.members.setStale(bank, 0);
    this.structures.clear(bank);
    const fills = this.fills(bank);
    if (fills === 0) return;
    if (fills <= JOURNAL_FILLS) {
      const log = this.ledger(bank) + LOG;
      for (let i = log; i < log + 2 * fills; i++) this.drop(this.i32[i]!);
    } else {
      const start = this.offset(bank);
      this.u8.fill(0xff, start, start + TLB_BANK_BYTES);
    }
    this.i32[this.ledger(bank) + FILLS] = 0;
    this.large.clear(bank);
  }

  private drop(at: number): void {
    this.i32[at] = -1;
    this.i32[at + 1] = -1;
  }

  private dropSlot(bank: number, lo: number, hi: number): void {
    const start = this.offset(bank) / 4;
    const first = ((lo >>> 12) & (TLB_ENTRIES - 1)) * ENTRY_WORDS;
    const second = secondTlbIndex(lo) * ENTRY_WORDS;
    for (let table = 0; table < 3; table++) {
      this.dropIf(start + table * TABLE_WORDS + first, lo, hi);
      this.dropIf(start + SECOND[table]! + second, lo, hi);
    }
  }

  private dropIf(at: number, lo: number, hi: number): void {
    if (this.i32[at] === (lo & ~0xfff) && this.i32[at + 1] === hi) this.drop(at);
  }

  /** Drops the pieces of whatever large page holds an address: 4 MiB (which a 2 MiB page lies in), or 1 GiB. */
  private dropLarge(bank: number, lo: number, hi: number): void {
    const mask = this.large.mayHoldHuge(bank, lo, hi) ? -1 << 30 : -1 << 22;
    const fills = this.fills(bank);
    if (fills <= JOURNAL_FILLS) {
      const log = this.ledger(bank) + LOG;
      for (let i = log; i < log + 2 * fills; i++) this.dropWithin(this.i32[i]!, lo, hi, mask);
      return;
    }
    const start = this.offset(bank) / 4;
    const end = start + TLB_BANK_BYTES / 4;
    for (let at = start; at < end; at += ENTRY_WORDS) this.dropWithin(at, lo, hi, mask);
  }

  /** Drops an entry whose address agrees with `lo` under `mask` and has the high half `hi`. */
  private dropWithin(at: number, lo: number, hi: number, mask: number): void {
    if (((this.i32[at]! ^ lo) & mask) === 0 && this.i32[at + 1] === hi) this.drop(at);
  }

  /** Drops the write entries of an arena page (-1: of all). */
  private dropArenaPage(bank: number, arenaPage: number): void {
    const start = this.offset(bank) / 4;
    const [first, second] = [start + TABLE_WORDS, start + SECOND_WRITES];
    const fills = this.fills(bank);
    if (fills <= JOURNAL_FILLS) {
      const log = this.ledger(bank) + LOG;
      for (let i = log; i < log + 2 * fills; i++) {
        const at = this.i32[i]!;
        if ((at >= first && at < first + TABLE_WORDS) || (at >= second && at < second + SECOND_WORDS)) this.dropPage(at, arenaPage);
      }
      return;
    }
    for (let at = first; at < first + TABLE_WORDS; at += ENTRY_WORDS) this.dropPage(at, arenaPage);
    for (let at = second; at < second + SECOND_WORDS; at += ENTRY_WORDS) this.dropPage(at, arenaPage);
  }

  private dropPage(at: number, arenaPage: number): void {
    if (arenaPage < 0 || (this.i32[at]! + this.i32[at + 2]!) >>> 12 === arenaPage) this.drop(at);
  }
}
