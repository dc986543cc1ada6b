import type { Tables } from './tables.js';
import type { Walk } from './walk.js';
import { Entry, Walked } from './walk.js';

/** Address bits 29:13 of a 1 GiB leaf and 20:13 of a 2 MiB leaf are reserved. */
const RESERVED_1G = 0x3fff_e000;
const RESERVED_2M = 0x001f_e000;
const PAGES_4G = 0x10_0000;

/** Index into the table of a level: nine bits of the linear address each. */
export function indexAt(level: number, lo: number, hi: number): number {
  switch (level) {
    case 1:
      return (lo >>> 12) & 0x1ff;
    case 2:
      return (lo >>> 21) & 0x1ff;
    case 3:
      return ((lo >>> 30) | (hi << 2)) & 0x1ff;
    case 4:
      return (hi >>> 7) & 0x1ff;
    default:
      return (hi >>> 16) & 0x1ff;
  }
}

/** Page of a 2 MiB (`level` 2) or 1 GiB (`level` 3) leaf, for one linear address in it. */
export function largePage(level: number, lo: number, low: number, high: number): number {
  const inside = level === 2 ? 0x1ff : 0x3_ffff;
  return (high & 0xf_ffff) * PAGES_4G + (((low >>> 12) & ~inside) | ((lo >>> 12) & inside));
}

/**
 * Walks tables of 8-byte entries from `level` (5, 4 or 2) down, beginning with the table in page `table`
 * (SDM Vol. 3, "4-Level Paging and 5-Level Paging", "PAE Paging"). `reservedHigh` are the bits of an entry's high half that must be 0; `restart` is the bit
 * of an entry's low half that ends HLAT paging, 0 for ordinary paging.
 */
export function walkLong(
  tables: Tables,
  walk: Walk,
  lo: number,
  hi: number,
  level: number,
  table: number,
  reservedHigh: number,
  pages1g: boolean,
  restart = 0,
): number {
  for (; ; level--) {
    const address = table * 4096 + indexAt(level, lo, hi) * 8;
    if (!tables.load(address)) return Walked.SECOND_STAGE;
    const { low, high } = tables;
    if ((low & Entry.P) === 0) return Walked.NOT_PRESENT;
    if ((low & restart) !== 0) return Walked.RESTART;
    if ((high & reservedHigh) !== 0) return Walked.RESERVED;
    walk.use(address, low, high);
    if (level === 1) {
      walk.page = (high & 0xf_ffff) * PAGES_4G + (low >>> 12);
      walk.sizeShift = 12;
      walk.key = (high >>> 27) & 0xf;
      return Walked.MAPPED;
    }
    if ((low & Entry.PS) !== 0) {
      if (level > 3 || (level === 3 && !pages1g)) return Walked.RESERVED;
      if ((low & (level === 3 ? RESERVED_1G : RESERVED_2M)) !== 0) return Walked.RESERVED;
      walk.page = largePage(level, lo, low, high);
      walk.sizeShift = level === 3 ? 30 : 21;
      walk.key = (high >>> 27) & 0xf;
      return Walked.MAPPED;
    }
    table = (high & 0xf_ffff) * PAGES_4G + (low >>> 12);
    if (level === 2) {
      walk.pageTable = table;
      walk.pageTableRights = walk.rights;
    } else if (level === 3) {
      walk.directory = table;
      walk.directoryRights = walk.rights;
    }
  }
}
