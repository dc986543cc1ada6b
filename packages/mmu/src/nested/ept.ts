import { indexAt, largePage } from '../guest/long.js';
import { SpaceMode } from './guest-space.js';
import type { StageTables } from './stage-tables.js';
import type { StageWalk } from './stage-walk.js';
import { StageRight, StageWalked } from './stage-walk.js';

/** Bits of EPT entries (SDM Vol. 3, "EPT Translation Mechanism"); those above bit 31 belong to the high half. */
export const EptEntry = {
  READ: 1 << 0,
  WRITE: 1 << 1,
  EXECUTE: 1 << 2,
  /** In the place of bits 6:3, which are reserved in entries that refer to a table. */
  TYPE_SHIFT: 3,
  LARGE: 1 << 7,
  ACCESSED: 1 << 8,
  DIRTY: 1 << 9,
  USER_EXECUTE: 1 << 10,
  /** High half: verify guest paging (57), paging-write access (58), supervisor shadow stack (60), sub-page write permission (61), suppress #VE (63). */
  HIGH_VERIFY: 1 << 25,
  HIGH_PAGING_WRITE: 1 << 26,
  HIGH_SHADOW_STACK: 1 << 28,
  HIGH_SUB_PAGE: 1 << 29,
  HIGH_SUPPRESS_VE: 1 << 31,
} as const;

const PAGES_4G = 0x10_0000;
const RESERVED_1G = 0x3fff_f000;
const RESERVED_2M = 0x001f_f000;
/** Memory types 2, 3 and 7 are reserved. */
const RESERVED_TYPES = (1 << 2) | (1 << 3) | (1 << 7);

/** Rights of one entry; without mode-based execute control bit 2 speaks for both kinds of linear address. */
function rightsOf(low: number, modes: number): number {
  let rights = low & (StageRight.READ | StageRight.WRITE | StageRight.EXECUTE);
  const userExecute = (modes & SpaceMode.MODE_BASED_EXECUTE) !== 0 ? low & EptEntry.USER_EXECUTE : low & EptEntry.EXECUTE;
  if (userExecute !== 0) rights |= StageRight.USER_EXECUTE;
  return rights;
}

/** True for combinations of rights that are misconfigurations: writable but not readable; executable but not readable where that is not offered. */
function badRights(rights: number, modes: number): boolean {
  if ((rights & StageRight.READ) !== 0) return false;
  if ((rights & StageRight.WRITE) !== 0) return true;
  return (modes & SpaceMode.EXECUTE_ONLY) === 0;
}

/** Whether the entry of `level` maps a page; -1 when its bit 7 is reserved there. */
function mapsPage(low: number, level: number, modes: number): number {
  if (level === 1) return 1;
  if ((low & EptEntry.LARGE) === 0) return 0;
  if (level === 2) return (modes & SpaceMode.PAGES_2M) !== 0 ? 1 : -1;
  return level === 3 && (modes & SpaceMode.PAGES_1G) !== 0 ? 1 : -1;
}

function leafReserved(low: number, high: number, level: number, rights: number, modes: number): boolean {
  if (((RESERVED_TYPES >>> ((low >>> EptEntry.TYPE_SHIFT) & 7)) & 1) !== 0) return true;
  if (level === 3 && (low & RESERVED_1G) !== 0) return true;
  if (level === 2 && (low & RESERVED_2M) !== 0) return true;
  return (modes & SpaceMode.PAGING_WRITE) !== 0 && (high & EptEntry.HIGH_PAGING_WRITE) !== 0 && (rights & StageRight.READ) === 0;
}

/**
 * Walks EPT from the table in page `table` at `level` (4 or 5) for a guest-physical address (int32 halves). `reservedHigh` are the address bits of an
 * entry's high half above the physical-address width (SDM Vol. 3, "EPT Misconfigurations", "EPT Violations"). The result is in `walk`.
 */
export function walkEpt(
  tables: StageTables,
  walk: StageWalk,
  lo: number,
  hi: number,
  level: number,
  table: number,
  modes: number,
  reservedHigh: number,
): number {
  walk.start();
  // Four levels translate 48 bits: an address beyond is mapped by nothing.
  if (level === 4 && hi >>> 16 !== 0) return StageWalked.NOT_PRESENT;
  for (; ; level--) {
    const address = table * 4096 + indexAt(level, lo, hi) * 8;
    tables.load(address);
    const { low, high } = tables;
    walk.lastLow = low;
    walk.lastHigh = high;
    const rights = rightsOf(low, modes);
    if (rights === 0) return StageWalked.NOT_PRESENT;
    const page = mapsPage(low, level, modes);
    if (page < 0 || (high & reservedHigh) !== 0 || badRights(rights, modes)) return StageWalked.MISCONFIGURED;
    walk.use(address, low);
    walk.rights &= rights;
    if (page === 1) {
      if (leafReserved(low, high, level, rights, modes)) return StageWalked.MISCONFIGURED;
      walk.page = level === 1 ? (high & 0xf_ffff) * PAGES_4G + (low >>> 12) : largePage(level, lo, low, high);
      walk.sizeShift = 3 + 9 * level;
      return StageWalked.MAPPED;
    }
    if ((low & 0x78) !== 0) return StageWalked.MISCONFIGURED;
    if ((rights & StageRight.WRITE) === 0) walk.writableAbove = false;
    table = (high & 0xf_ffff) * PAGES_4G + (low >>> 12);
  }
}
