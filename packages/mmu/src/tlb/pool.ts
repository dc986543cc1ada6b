import type { Arena } from '@nestvm/memory';
import { TLB_BANK_BYTES, TLB_ENTRIES, TLB_ENTRY_BYTES, TLB_TABLE_BYTES } from './layout.js';

const ENTRY_WORDS = TLB_ENTRY_BYTES / 4;
const TABLE_WORDS = TLB_TABLE_BYTES / 4;
const HINTS = 64;
/** Bits of the per-bank filter of 2 MiB regions that hold entries cut from large pages. */
const FILTER_WORDS = 8;

/**
 * The TLB banks of one vCPU. A bank belongs to one context: a `Context` word, PKRU and PKRS. Switching contexts picks a bank and flushes nothing;
 * an invalidation marks the banks it concerns stale, and a stale bank is cleared when it is used again. The mark does what a generation
 * counter would: with this few banks, marking them costs less than comparing counters at each switch.
 */
export class TlbPool {
  /** Bank in force. */
  current = 0;
  private readonly base: number;
  private readonly i32: Int32Array;
  private readonly u8: Uint8Array;
  private readonly key: Int32Array;
  private readonly pkru: Int32Array;
  private readonly pkrs: Int32Array;
  /** 1: belongs to a context. A free bank is clean. */
  private readonly bound: Uint8Array;
  private readonly stale: Uint8Array;
  /** 1: something was filled since it was cleared. */
  private readonly filled: Uint8Array;
  private readonly lastUse: Float64Array;
  private readonly hints = new Int32Array(HINTS);
  private readonly largeFilter: Int32Array;
  /** 1: holds entries cut from 1 GiB pages. */
  private readonly huge: Uint8Array;
  private clock = 0;

  constructor(
    arena: Arena,
    name: string,
    readonly banks: number,
  ) {
    this.base = arena.allocate(name, banks * TLB_BANK_BYTES, 4096);
    this.i32 = arena.i32;
    this.u8 = arena.u8;
    this.key = new Int32Array(banks);
    this.pkru = new Int32Array(banks);
    this.pkrs = new Int32Array(banks);
    this.bound = new Uint8Array(banks);
    this.stale = new Uint8Array(banks);
    this.filled = new Uint8Array(banks);
    this.lastUse = new Float64Array(banks);
    this.largeFilter = new Int32Array(banks * FILTER_WORDS);
    this.huge = new Uint8Array(banks);
    for (let bank = 0; bank < banks; bank++) this.clear(bank);
  }

  /** Arena offset of a bank's first table. */
  offset(bank: number): number {
    return this.base + bank * TLB_BANK_BYTES;
  }

  /** Makes the bank of a context current, clean of everything that was invalidated, and returns its number. */
  select(key: number, pkru: number, pkrs: number): number {
    const bank = this.find(key, pkru, pkrs);
    this.lastUse[bank] = ++this.clock;
    this.current = bank;
    if (this.stale[bank] === 1) this.clear(bank);
    return bank;
  }

  /** Puts a translation into a table of the current bank; `sizeShift` is log2 of the page that the guest maps. */
  fill(table: number, lo: number, hi: number, addend: number, page: number, sizeShift: number): void {
    const bank = this.current;
    const at = this.offset(bank) / 4 + table * TABLE_WORDS + ((lo >>> 12) & (TLB_ENTRIES - 1)) * ENTRY_WORDS;
    const { i32 } = this;
    i32[at] = lo & ~0xfff;
    i32[at + 1] = hi;
    i32[at + 2] = addend;
    i32[at + 3] = page | 0;
    this.filled[bank] = 1;
    if (sizeShift === 30) this.huge[bank] = 1;
    else if (sizeShift > 12) this.largeFilter[bank * FILTER_WORDS + ((lo >>> 26) & 7)]! |= 1 << ((lo >>> 21) & 31);
  }

  /** Forgets the page of one linear address in all banks with `(key & mask) === match`, together with the rest of a large page it lies in. */
  invalidatePage(lo: number, hi: number, mask: number, match: number): void {
    for (let bank = 0; bank < this.banks; bank++) {
      if (this.filled[bank] === 0 || this.stale[bank] === 1 || (this.key[bank]! & mask) !== match) continue;
      this.dropSlot(bank, lo, hi);
      const word = this.largeFilter[bank * FILTER_WORDS + ((lo >>> 26) & 7)]!;
      // A 4 MiB page marks the filter at whichever half was touched, so both halves count.
      if (((word >>> ((lo >>> 21) & 30)) & 3) !== 0) this.dropRange(bank, lo, hi, -1 << 22);
      if (this.huge[bank] === 1) this.dropRange(bank, lo, hi, -1 << 30);
    }
  }

  /** Forgets everything in all banks with `(key & mask) === match`. */
  invalidate(mask: number, match: number): void {
    for (let bank = 0; bank < this.banks; bank++) {
      if ((this.key[bank]! & mask) === match) this.stale[bank] = 1;
    }
    if (this.stale[this.current] === 1) this.clear(this.current);
  }

  /** Takes write access to an arena page (-1: to every page) away in all banks. */
  dropWrites(arenaPage: number): void {
    for (let bank = 0; bank < this.banks; bank++) {
      if (this.filled[bank] === 0 || this.stale[bank] === 1) continue;
      const start = this.offset(bank) + TLB_TABLE_BYTES;
      if (arenaPage < 0) this.u8.fill(0xff, start, start + TLB_TABLE_BYTES);
      else this.dropArenaPage(start / 4, arenaPage);
    }
  }

  private find(key: number, pkru: number, pkrs: number): number {
    const hash = (Math.imul(key ^ Math.imul(pkru, 0x85ebca6b) ^ pkrs, 0x9e3779b1) >>> 26) & (HINTS - 1);
    const hint = this.hints[hash]!;
    if (this.is(hint, key, pkru, pkrs)) return hint;
    let oldest = 0;
    for (let bank = 0; bank < this.banks; bank++) {
      if (this.is(bank, key, pkru, pkrs)) return (this.hints[hash] = bank);
      if (this.lastUse[bank]! < this.lastUse[oldest]!) oldest = bank;
    }
    this.bind(oldest, key, pkru, pkrs);
    return (this.hints[hash] = oldest);
  }

  private is(bank: number, key: number, pkru: number, pkrs: number): boolean {
    return this.key[bank] === key && this.pkru[bank] === pkru && this.pkrs[bank] === pkrs && this.bound[bank] === 1;
  }

  private bind(bank: number, key: number, pkru: number, pkrs: number): void {
    if (this.filled[bank] === 1) this.stale[bank] = 1;
    this.key[bank] = key;
    this.pkru[bank] = pkru;
    this.pkrs[bank] = pkrs;
    this.bound[bank] = 1;
  }

  private clear(bank: number): void {
    this.stale[bank] = 0;
    if (this.filled[bank] === 0 && this.clock > 0) return;
    const start = this.offset(bank);
    this.u8.fill(0xff, start, start + TLB_BANK_BYTES);
    this.filled[bank] = 0;
    this.huge[bank] = 0;
    this.largeFilter.fill(0, bank * FILTER_WORDS, (bank + 1) * FILTER_WORDS);
  }

  private dropSlot(bank: number, lo: number, hi: number): void {
    const { i32 } = this;
    let at = this.offset(bank) / 4 + ((lo >>> 12) & (TLB_ENTRIES - 1)) * ENTRY_WORDS;
    for (let table = 0; table < 3; table++, at += TABLE_WORDS) {
      if (i32[at] !== (lo & ~0xfff) || i32[at + 1] !== hi) continue;
      i32[at] = -1;
      i32[at + 1] = -1;
    }
  }

  /** Drops the entries whose address agrees with `lo` under `mask` and has the high half `hi`, in all three tables. */
  private dropRange(bank: number, lo: number, hi: number, mask: number): void {
    const { i32 } = this;
    const start = this.offset(bank) / 4;
    const end = start + TLB_BANK_BYTES / 4;
    for (let at = start; at < end; at += ENTRY_WORDS) {
      if (((i32[at]! ^ lo) & mask) !== 0 || i32[at + 1] !== hi) continue;
      i32[at] = -1;
      i32[at + 1] = -1;
    }
  }

  private dropArenaPage(start: number, arenaPage: number): void {
    const { i32 } = this;
    for (let at = start; at < start + TABLE_WORDS; at += ENTRY_WORDS) {
      if ((i32[at]! + i32[at + 2]!) >>> 12 !== arenaPage) continue;
      i32[at] = -1;
      i32[at + 1] = -1;
    }
  }
}
