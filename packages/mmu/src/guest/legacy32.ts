import type { Tables } from './tables.js';
import type { Walk } from './walk.js';
import { Entry, Walked } from './walk.js';

/**
 * Walks 32-bit tables (SDM Vol. 3, "32-Bit Paging"): two levels of 4-byte entries, 4 MiB pages when `pse`, whose
 * address bits 39:32 stand in bits 20:13 (PSE-36). `reserved4m` are the bits of a 4 MiB entry that must be 0.
 */
export function walkLegacy32(tables: Tables, walk: Walk, lo: number, cr3: number, pse: boolean, reserved4m: number): number {
  const directory = (cr3 & ~0xfff) >>> 0;
  const pdeAddress = directory + ((lo >>> 22) << 2);
  if (!tables.load32(pdeAddress)) return Walked.SECOND_STAGE;
  const pde = tables.low;
  if ((pde & Entry.P) === 0) return Walked.NOT_PRESENT;
  if (pse && (pde & Entry.PS) !== 0) {
    if ((pde & reserved4m) !== 0) return Walked.RESERVED;
    walk.use(pdeAddress, pde, 0);
    walk.page = ((pde >>> 13) & 0xff) * 0x10_0000 + (((pde >>> 22) << 10) | ((lo >>> 12) & 0x3ff));
    walk.sizeShift = 22;
    return Walked.MAPPED;
  }
  walk.use(pdeAddress, pde, 0);
  const pteAddress = ((pde & ~0xfff) >>> 0) + (((lo >>> 12) & 0x3ff) << 2);
  if (!tables.load32(pteAddress)) return Walked.SECOND_STAGE;
  const pte = tables.low;
  if ((pte & Entry.P) === 0) return Walked.NOT_PRESENT;
  walk.use(pteAddress, pte, 0);
  walk.page = pte >>> 12;
  walk.sizeShift = 12;
  return Walked.MAPPED;
}
