import { walkLong } from './long.js';
import type { Tables } from './tables.js';
import type { Walk } from './walk.js';
import { Entry, Walked } from './walk.js';

/** Bits 2:1 and 8:5 of a page-directory-pointer-table entry are reserved. */
const RESERVED_PDPTE = 0x1e6;

/**
 * Walks PAE tables (SDM Vol. 3, "PAE Paging"): one of four PDPTE registers (8 bytes each from word `pdptes` of `i32`), then two levels like long mode's,
 * except that every address bit above the width is reserved.
 */
export function walkPae(tables: Tables, walk: Walk, lo: number, i32: Int32Array, pdptes: number, reservedHigh: number): number {
  const at = pdptes + (lo >>> 30) * 2;
  const low = i32[at]!;
  if ((low & Entry.P) === 0) return Walked.NOT_PRESENT;
  const table = (i32[at + 1]! & 0xf_ffff) * 0x10_0000 + (low >>> 12);
  return walkLong(tables, walk, lo, 0, 2, table, reservedHigh, false);
}

/**
 * Walks PAE tables of a guest under nested paging, which reads the PDPTE from memory each time instead of from a register
 * (APM Vol. 2, "Nested Paging", "Legacy PAE Mode"): reserved bits in it are found only now.
 */
export function walkPaeInMemory(tables: Tables, walk: Walk, lo: number, cr3: number, reservedHigh: number, reservedPdpte: number): number {
  if (!tables.load(((cr3 & ~0x1f) >>> 0) + (lo >>> 30) * 8)) return Walked.SECOND_STAGE;
  const { low, high } = tables;
  if ((low & Entry.P) === 0) return Walked.NOT_PRESENT;
  if ((low & RESERVED_PDPTE) !== 0 || (high & reservedPdpte) !== 0) return Walked.RESERVED;
  return walkLong(tables, walk, lo, 0, 2, (high & 0xf_ffff) * 0x10_0000 + (low >>> 12), reservedHigh, false);
}

/**
 * Loads the four PDPTE registers from guest memory, as MOV to CR3 does; all or nothing.
 * False: a present entry has reserved bits set (the caller raises #GP(0)), or the second stage refuses.
 */
export function loadPdptes(tables: Tables, i32: Int32Array, pdptes: number, cr3: number, reservedHigh: number): boolean {
  const base = (cr3 & ~0x1f) >>> 0;
  for (let pass = 0; pass < 2; pass++) {
    for (let i = 0; i < 4; i++) {
      if (!tables.load(base + i * 8)) return false;
      const { low, high } = tables;
      if ((low & Entry.P) !== 0 && ((low & RESERVED_PDPTE) !== 0 || (high & reservedHigh) !== 0)) return false;
      if (pass === 0) continue;
      i32[pdptes + i * 2] = low;
      i32[pdptes + i * 2 + 1] = high;
    }
  }
  return true;
}
