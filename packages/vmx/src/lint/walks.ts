import type { EntryContext } from '../checks/context.js';
import { Exit } from '../controls/controls.js';
import { F } from '../fields/layout.js';

/** Where a walk ends: a physical address and the EPT memory type there (-1: no EPT); `absent`: an entry is not present; `unknown`: a table cannot be read. */
type Walk = { readonly address: number; readonly type: number } | 'absent' | 'unknown';

const TWO_32 = 0x1_0000_0000;
const ADDRESS_HIGH = 0xf_ffff;
const LA57 = 1 << 12;
const CR0_PG = 1 << 31;
const LARGE = 0x80;
/** Levels at which an entry may be a page. */
const LARGE_LEVELS = 3;

/** True for an address of RAM or ROM. */
export const isMemory = (c: EntryContext, address: number): boolean => address < 2 ** 52 && c.memory.arenaOffsetOf(address) >= 0;

/** Walks tables of 512 entries; `present`: bits of which one must be set; `translate` leads from the address in an entry to where the table is. */
function walk(
  c: EntryContext,
  root: number,
  levels: number,
  address: number,
  present: number,
  translate: (address: number) => Walk,
): { readonly leaf: number; readonly address: number } | 'absent' | 'unknown' {
  let table = root;
  for (let level = levels; level > 0; level--) {
    const found = translate(table);
    if (typeof found === 'string' || !isMemory(c, found.address)) return 'unknown';
    const shift = 2 ** (12 + 9 * (level - 1));
    const at = found.address + 8 * (Math.floor(address / shift) % 512);
    const lo = c.physicalWord((at % TWO_32) | 0, Math.floor(at / TWO_32));
    if ((lo & present) === 0) return 'absent';
    const target = (c.physicalWord(((at % TWO_32) | 0) + 4, Math.floor(at / TWO_32)) & ADDRESS_HIGH) * TWO_32 + ((lo & ~0xfff) >>> 0);
    if (level === 1 || (level <= LARGE_LEVELS && (lo & LARGE) !== 0)) return { leaf: lo, address: target - (target % shift) + (address % shift) };
    table = target;
  }
  return 'unknown';
}

const plain = (address: number): Walk => ({ address, type: -1 });

/** Whether the tables at host CR3, as they are now, map host RIP. Legacy and PAE hosts are not walked: true. */
export function isHostRipMapped(c: EntryContext): boolean {
  if ((c.exit & Exit.HOST_ADDRESS_SPACE_SIZE) === 0) return true;
  const address = (c.hi(F.HOST_RIP) & 0x1ff_ffff) * TWO_32 + (c.lo(F.HOST_RIP) >>> 0);
  const root = (c.hi(F.HOST_CR3) & ADDRESS_HIGH) * TWO_32 + ((c.lo(F.HOST_CR3) & ~0xfff) >>> 0);
  return typeof walk(c, root, (c.lo(F.HOST_CR4) & LA57) === 0 ? 4 : 5, address, 1, plain) !== 'string';
}

/** A guest-physical address through the EPT, if there is one. */
function throughEpt(c: EntryContext, address: number): Walk {
  if ((c.proc2 & 2) === 0) return plain(address);
  const lo = c.lo(F.EPT_POINTER);
  const root = (c.hi(F.EPT_POINTER) & ADDRESS_HIGH) * TWO_32 + ((lo & ~0xfff) >>> 0);
  const found = walk(c, root, ((lo >>> 3) & 7) + 1, address, 7, plain);
  return typeof found === 'string' ? found : { address: found.address, type: (found.leaf >>> 3) & 7 };
}

/**
 * Where the first instruction of the guest is. `absent`: its own tables do not map it. Tables that the EPT does not map yet, and those of 32-bit guests, make it
 * `unknown`: hypervisors may fill them later.
 */
export function walkToGuestRip(c: EntryContext): Walk {
  const lo = c.lo(F.GUEST_RIP) >>> 0;
  if ((c.lo(F.GUEST_CR0) & CR0_PG) === 0) return throughEpt(c, (lo + (c.lo(F.GUEST_CS_BASE) >>> 0)) % TWO_32);
  if ((c.entry & (1 << 9)) === 0) return 'unknown';
  const root = (c.hi(F.GUEST_CR3) & ADDRESS_HIGH) * TWO_32 + ((c.lo(F.GUEST_CR3) & ~0xfff) >>> 0);
  const address = (c.hi(F.GUEST_RIP) & 0x1ff_ffff) * TWO_32 + lo;
  const found = walk(c, root, (c.lo(F.GUEST_CR4) & LA57) === 0 ? 4 : 5, address, 1, (table) => throughEpt(c, table));
  if (typeof found === 'string') return found;
  const page = throughEpt(c, found.address);
  return page === 'absent' ? 'unknown' : page;
}
