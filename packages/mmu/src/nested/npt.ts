import { Paging } from '../context.js';
import { indexAt, largePage } from '../guest/long.js';
import { Entry } from '../guest/walk.js';
import { SpaceMode } from './guest-space.js';
import type { StageTables } from './stage-tables.js';
import type { StageWalk } from './stage-walk.js';
import { StageRight, StageWalked } from './stage-walk.js';

const PAGES_4G = 0x10_0000;
const RESERVED_1G = 0x3fff_e000;
const RESERVED_2M = 0x001f_e000;
const RESERVED_PDPTE = 0x1e6;
/** High-half bits 62:52 and, without NX, bit 63 are reserved in PAE entries; in a PDPTE always. */
const RESERVED_HIGH_PAE = 0x7ff0_0000;
const TOP = -0x8000_0000;

/** What the walk needs of the host's mode: `SpaceMode` bits, and reserved address bits by format. */
export interface NptFormat {
  readonly modes: number;
  /** Address bits of an entry's high half above the physical-address width. */
  readonly reservedHigh: number;
  /** Reserved bits of a 4 MiB entry of 32-bit tables. */
  readonly reserved4m: number;
}

/** Rights of one entry: the nested walk judges every access of the guest as one by a user, so pages of supervisors grant nothing. */
function rightsOf(low: number, high: number): number {
  if ((low & Entry.US) === 0) return 0;
  const rights = high < 0 ? StageRight.READ : StageRight.READ | StageRight.EXECUTE | StageRight.USER_EXECUTE;
  return (low & Entry.RW) === 0 ? rights : rights | StageRight.WRITE;
}

/**
 * Walks nested page tables in a format of the host (`Paging.LEGACY32` to `LEVEL5`) from the table at physical address `root` for a guest-physical address
 * (int32 halves; APM Vol. 2, "Nested Paging"). `MISCONFIGURED` means reserved bits. The result is in `walk`.
 */
export function walkNpt(tables: StageTables, walk: StageWalk, lo: number, hi: number, paging: number, root: number, format: NptFormat): number {
  walk.start();
  if (paging === Paging.LEGACY32) return hi !== 0 ? StageWalked.NOT_PRESENT : walk32(tables, walk, lo, root, format);
  const noXd = (format.modes & SpaceMode.NX) === 0 ? TOP : 0;
  const page = Math.floor(root / 4096);
  if (paging === Paging.PAE) {
    if (hi !== 0) return StageWalked.NOT_PRESENT;
    tables.load(root + (lo >>> 30) * 8);
    const { low, high } = tables;
    walk.lastLow = low;
    if ((low & Entry.P) === 0) return StageWalked.NOT_PRESENT;
    if ((low & RESERVED_PDPTE) !== 0 || (high & (format.reservedHigh | RESERVED_HIGH_PAE | TOP)) !== 0) return StageWalked.MISCONFIGURED;
    return walk64(tables, walk, lo, 0, 2, (high & 0xf_ffff) * PAGES_4G + (low >>> 12), format.reservedHigh | RESERVED_HIGH_PAE | noXd, false);
  }
  const level = paging === Paging.LEVEL5 ? 5 : 4;
  if (level === 4 && hi >>> 16 !== 0) return StageWalked.NOT_PRESENT;
  return walk64(tables, walk, lo, hi, level, page, format.reservedHigh | noXd, (format.modes & SpaceMode.PAGES_1G) !== 0);
}

function walk64(
  tables: StageTables,
  walk: StageWalk,
  lo: number,
  hi: number,
  level: number,
  table: number,
  reserved: number,
  pages1g: boolean,
): number {
  for (; ; level--) {
    const address = table * 4096 + indexAt(level, lo, hi) * 8;
    tables.load(address);
    const { low, high } = tables;
    walk.lastLow = low;
    walk.lastHigh = high;
    if ((low & Entry.P) === 0) return StageWalked.NOT_PRESENT;
    if ((high & reserved) !== 0) return StageWalked.MISCONFIGURED;
    walk.use(address, low);
    walk.rights &= rightsOf(low, high);
    if (level > 1 && (low & Entry.PS) === 0) {
      table = (high & 0xf_ffff) * PAGES_4G + (low >>> 12);
      continue;
    }
    if (level > 3 || (level === 3 && (!pages1g || (low & RESERVED_1G) !== 0)) || (level === 2 && (low & RESERVED_2M) !== 0)) {
      return StageWalked.MISCONFIGURED;
    }
    walk.page = level === 1 ? (high & 0xf_ffff) * PAGES_4G + (low >>> 12) : largePage(level, lo, low, high);
    walk.sizeShift = 3 + 9 * level;
    return StageWalked.MAPPED;
  }
}

/** 32-bit tables, 4 MiB pages when the host has CR4.PSE. */
function walk32(tables: StageTables, walk: StageWalk, lo: number, root: number, format: NptFormat): number {
  let address = root - (root % 4096) + (lo >>> 22) * 4;
  tables.load32(address);
  const pde = tables.low;
  walk.lastLow = pde;
  if ((pde & Entry.P) === 0) return StageWalked.NOT_PRESENT;
  const large = (format.modes & SpaceMode.PSE) !== 0 && (pde & Entry.PS) !== 0;
  if (large && (pde & format.reserved4m) !== 0) return StageWalked.MISCONFIGURED;
  walk.use(address, pde);
  walk.rights &= rightsOf(pde, 0);
  if (large) {
    walk.page = ((pde >>> 13) & 0xff) * PAGES_4G + (((pde >>> 22) << 10) | ((lo >>> 12) & 0x3ff));
    walk.sizeShift = 22;
    return StageWalked.MAPPED;
  }
  address = ((pde & ~0xfff) >>> 0) + ((lo >>> 12) & 0x3ff) * 4;
  tables.load32(address);
  const pte = tables.low;
  walk.lastLow = pte;
  if ((pte & Entry.P) === 0) return StageWalked.NOT_PRESENT;
  walk.use(address, pte);
  walk.rights &= rightsOf(pte, 0);
  walk.page = pte >>> 12;
  walk.sizeShift = 12;
  return StageWalked.MAPPED;
}
