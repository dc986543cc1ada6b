import { Cr0, Cr4, Efer, Rflags } from '@nestvm/isa';

/** How linear addresses are translated (SDM Vol. 3, "Paging Modes"). */
export const Paging = { NONE: 0, LEGACY32: 1, PAE: 2, LEVEL4: 3, LEVEL5: 4 } as const;

/**
 * The facts that a translation depends on, apart from the tables themselves, packed into one int32: two accesses under the same word
 * (and the same PKRU and PKRS) may share cached translations. `PAGING` holds a `Paging` value.
 */
export const Context = {
  PAGING: 7,
  PSE: 1 << 3,
  WP: 1 << 4,
  SMEP: 1 << 5,
  SMAP: 1 << 6,
  NXE: 1 << 7,
  PKE: 1 << 8,
  PKS: 1 << 9,
  /** CPL is 3. */
  USER: 1 << 10,
  /** EFLAGS.AC lifts SMAP; only ever set under SMAP at CPL 0-2. */
  AC: 1 << 11,
  /** Address bit 20 is forced to 0 (the A20 gate of the PC). */
  A20_CLOSED: 1 << 12,
  PCID_SHIFT: 13,
  PCID: 0xfff << 13,
} as const;

/** Paging mode that CR0, CR4 and EFER select. */
export function pagingMode(cr0: number, cr4: number, efer: number): number {
  if ((cr0 & Cr0.PG) === 0) return Paging.NONE;
  if ((cr4 & Cr4.PAE) === 0) return Paging.LEGACY32;
  if ((efer & Efer.LMA) === 0) return Paging.PAE;
  return (cr4 & Cr4.LA57) !== 0 ? Paging.LEVEL5 : Paging.LEVEL4;
}

/** A20 gate: closed when the mask is in use (not 0) and lacks bit 20. */
const a20Bit = (mask: number): number => (mask !== 0 && (mask & 0x10_0000) === 0 ? Context.A20_CLOSED : 0);

/** Packs the mode into a `Context` word; features that a paging mode ignores are left out. */
export function packContext(cr0: number, cr3: number, cr4: number, efer: number, rflags: number, cpl: number, a20Mask: number): number {
  const paging = pagingMode(cr0, cr4, efer);
  let word = paging | a20Bit(a20Mask);
  if (paging === Paging.NONE) return word;
  if ((cr0 & Cr0.WP) !== 0) word |= Context.WP;
  if ((cr4 & Cr4.SMEP) !== 0) word |= Context.SMEP;
  if (cpl === 3) word |= Context.USER;
  if ((cr4 & Cr4.SMAP) !== 0) word |= cpl !== 3 && (rflags & Rflags.AC) !== 0 ? Context.SMAP | Context.AC : Context.SMAP;
  if (paging === Paging.LEGACY32) return (cr4 & Cr4.PSE) !== 0 ? word | Context.PSE : word;
  if ((efer & Efer.NXE) !== 0) word |= Context.NXE;
  if (paging === Paging.PAE) return word;
  if ((cr4 & Cr4.PKE) !== 0) word |= Context.PKE;
  if ((cr4 & Cr4.PKS) !== 0) word |= Context.PKS;
  if ((cr4 & Cr4.PCIDE) !== 0) word |= (cr3 & 0xfff) << Context.PCID_SHIFT;
  return word;
}
