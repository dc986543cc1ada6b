import type { PhysicalMemory } from '@nestvm/memory';
import { Context, Paging } from '../context.js';
import { walkLegacy32 } from './legacy32.js';
import { walkLong } from './long.js';
import { loadPdptes, walkPae, walkPaeInMemory } from './pae.js';
import { Tables } from './tables.js';
import { Entry, Walk, Walked } from './walk.js';

/** What the walker needs to know of its vCPU. */
export interface WalkerOptions {
  readonly memory: PhysicalMemory;
  /** How tables are read; plainly unless given. */
  readonly tables?: Tables;
  /** Where CR3 (two words) and the four PDPTE registers (eight words) are, as word indices into `registers`. */
  readonly registers: Int32Array;
  readonly cr3: number;
  readonly pdptes: number;
  readonly maxPhysicalAddress: number;
  readonly pages1g: boolean;
}

/** Bits of the high half of an entry from bit `width - 32` up to bit 19 (address bit 51). */
export const aboveWidth = (width: number): number => (width >= 52 ? 0 : 0xf_ffff & ~((1 << (width - 32)) - 1));

/**
 * Reserved bits of a 4 MiB entry for a width of physical addresses: PSE-36 takes address bits 39:32 from bits 20:13; those above the width, and bit 21, must be 0.
 */
export const reserved4mBits = (width: number): number => 0x20_0000 | (width >= 40 ? 0 : (0x1f_e000 << (width - 32)) & 0x1f_e000);

/** In an entry of HLAT paging: translate by ordinary paging instead. */
const RESTART = 1 << 11;

/** Chooses the format by the paging mode, and marks the entries of a walk as used. */
export class GuestWalker {
  readonly walk = new Walk();
  readonly tables: Tables;
  /** Under nested paging PDPTEs are read from memory at each walk. */
  pdptesInMemory = false;
  /** Page of HLAT's first table (-1: no HLAT), and whether its prefix needs bit 63. */
  hlatPage = -1;
  hlatPrefix = 0;
  private readonly i32: Int32Array;
  private readonly cr3: number;
  private readonly pdptes: number;
  /** Reserved bits: high half of long-mode entries, of PAE entries, low half of 4 MiB entries. */
  readonly reservedLong: number;
  private readonly reservedPae: number;
  private readonly reserved4m: number;
  private readonly pages1g: boolean;

  constructor(options: WalkerOptions) {
    const { memory, maxPhysicalAddress: width } = options;
    this.tables = options.tables ?? new Tables(memory);
    this.i32 = options.registers;
    this.cr3 = options.cr3;
    this.pdptes = options.pdptes;
    this.pages1g = options.pages1g;
    this.reservedLong = aboveWidth(width);
    this.reservedPae = aboveWidth(width) | 0x7ff0_0000;
    this.reserved4m = reserved4mBits(width);
  }

  /** Walks the guest's tables for a linear address; the result is in `walk` when it says `MAPPED`. Without paging, the identity. */
  run(lo: number, hi: number, context: number): number {
    const { walk, tables } = this;
    const paging = context & Context.PAGING;
    walk.start();
    if (paging === Paging.NONE) {
      walk.page = lo >>> 12;
      walk.sizeShift = 12;
      return Walked.MAPPED;
    }
    const cr3 = this.i32[this.cr3]!;
    if (paging === Paging.LEGACY32) return walkLegacy32(tables, walk, lo, cr3, (context & Context.PSE) !== 0, this.reserved4m);
    const noXd = (context & Context.NXE) === 0 ? 0x8000_0000 : 0;
    if (paging === Paging.PAE && this.pdptesInMemory) {
      return walkPaeInMemory(tables, walk, lo, cr3, this.reservedPae | noXd, this.reservedPae | 0x8000_0000);
    }
    if (paging === Paging.PAE) return walkPae(tables, walk, lo, this.i32, this.pdptes, this.reservedPae | noXd);
    const level = paging === Paging.LEVEL5 ? 5 : 4;
    if (this.hlatPage >= 0 && hasPrefix(hi, this.hlatPrefix)) {
      const walked = walkLong(tables, walk, lo, hi, level, this.hlatPage, this.reservedLong | noXd, this.pages1g, RESTART);
      if (walked !== Walked.RESTART) return walked;
      walk.start();
    }
    const root = (this.i32[this.cr3 + 1]! & 0xf_ffff) * 0x10_0000 + (cr3 >>> 12);
    return walkLong(tables, walk, lo, hi, level, root, this.reservedLong | noXd, this.pages1g);
  }

  /** Continues a walk of 8-byte entries at a cached table: the page directory (`level` 2) or page table (1) in page `table`, with the rights so far. */
  runFrom(level: number, table: number, rights: number, lo: number, hi: number, context: number): number {
    const { walk, tables } = this;
    walk.start();
    walk.begin(rights);
    const reserved = (context & Context.PAGING) === Paging.PAE ? this.reservedPae : this.reservedLong;
    const noXd = (context & Context.NXE) === 0 ? 0x8000_0000 : 0;
    return walkLong(tables, walk, lo, hi, level, table, reserved | noXd, this.pages1g);
  }

  /** Loads the PDPTE registers from the table that a CR3 value points to; false: an entry has reserved bits set and nothing was loaded. */
  loadPdptes(cr3: number): boolean {
    return loadPdptes(this.tables, this.i32, this.pdptes, cr3, this.reservedPae | 0x8000_0000);
  }

  /**
   * Sets A in every entry of the last walk, and D in the leaf for a write, each in one step.
   * 1 done, 0 an entry has changed meanwhile (walk again), -1 the second stage refuses the update.
   */
  markUsed(write: boolean): number {
    const { walk, tables } = this;
    for (let i = 0; i < walk.depth; i++) {
      const low = walk.low[i]!;
      const flags = write && i === walk.depth - 1 ? Entry.A | Entry.D : Entry.A;
      if ((low & flags) === flags) continue;
      const done = tables.update(walk.address[i]!, low, flags);
      if (done <= 0) return done;
      walk.low[i] = low | flags;
    }
    return 1;
  }
}

/** Whether the top bits of a linear address, as many as HLAT's prefix has, are all ones. */
const hasPrefix = (hi: number, prefix: number): boolean => prefix === 0 || hi >> (32 - Math.min(prefix, 32)) === -1;
