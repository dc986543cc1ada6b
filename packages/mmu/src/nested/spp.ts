import { indexAt } from '../guest/long.js';
import type { StageTables } from './stage-tables.js';

/** What the sub-page-permission table says of a write. */
export const SubPage = { WRITABLE: 0, PROTECTED: 1, MISS: 2, MISCONFIGURED: 3 } as const;

const PAGES_4G = 0x10_0000;
/** Odd bits of the last level's vector are reserved. */
const ODD_BITS = 0xaaaa_aaaa | 0;

/**
 * Looks up the 128-byte piece of a guest-physical address (int32 halves) in the sub-page-permission table at physical address `root`
 * (SDM Vol. 3, "Sub-Page Write Permissions"): four levels, bit 2·i of the last one's entry lets piece i be written.
 */
export function subPagePermission(tables: StageTables, root: number, lo: number, hi: number, reservedHigh: number): number {
  let table = Math.floor(root / 4096);
  for (let level = 4; level > 1; level--) {
    tables.load(table * 4096 + indexAt(level, lo, hi) * 8);
    const { low, high } = tables;
    if ((low & 1) === 0) return SubPage.MISS;
    if ((low & 0xffe) !== 0 || (high & (reservedHigh | 0xfff0_0000)) !== 0) return SubPage.MISCONFIGURED;
    table = (high & 0xf_ffff) * PAGES_4G + (low >>> 12);
  }
  tables.load(table * 4096 + indexAt(1, lo, hi) * 8);
  if (((tables.low | tables.high) & ODD_BITS) !== 0) return SubPage.MISCONFIGURED;
  const piece = (lo >>> 7) & 31;
  const half = piece < 16 ? tables.low : tables.high;
  return ((half >>> ((piece & 15) * 2)) & 1) !== 0 ? SubPage.WRITABLE : SubPage.PROTECTED;
}
