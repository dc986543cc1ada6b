/**
 * The naive walker: no cache, no cleverness, 64-bit integers as `bigint`, written from the manual's prose (SDM Vol. 3, chapter "Paging")
 * and from nothing in `src`. It stays in the tests for ever as what the MMU must agree with.
 */

/** Everything a translation depends on, in the manual's names. */
export interface OracleMode {
  readonly pg: boolean;
  readonly pae: boolean;
  readonly lma: boolean;
  readonly la57: boolean;
  readonly pse: boolean;
  readonly wp: boolean;
  readonly nxe: boolean;
  readonly smep: boolean;
  readonly smap: boolean;
  readonly pke: boolean;
  readonly pks: boolean;
  readonly ac: boolean;
  readonly pkru: number;
  readonly pkrs: number;
  readonly cr3: bigint;
  readonly maxPhysicalAddress: number;
  readonly pages1g: boolean;
  readonly pdpte: readonly bigint[];
  /** Nested paging: PDPTEs are read from memory. */
  readonly pdptesInMemory?: boolean;
  /** HLAT paging: root, and how many top bits of the linear address must be ones. */
  readonly hlat?: { readonly root: bigint; readonly prefix: number };
  /** Reads the little-endian integer of 4 or 8 bytes at a physical address. */
  readonly read: (address: bigint, bytes: 4 | 8) => bigint;
}

/** One access. */
export interface OracleAccess {
  readonly linear: bigint;
  readonly kind: 'read' | 'write' | 'fetch';
  readonly userMode: boolean;
  readonly implicit: boolean;
  /** An access of a shadow stack: a read or a write. */
  readonly shadowStack?: boolean;
}

/** What the manual says happens. */
export type OracleResult =
  | { readonly ok: true; readonly physical: bigint; readonly pageBytes: bigint; readonly updates: readonly Update[]; readonly rights: LinearRights }
  | { readonly ok: false; readonly errorCode: number };

/** What the guest's tables grant for the address. */
export interface LinearRights {
  readonly user: boolean;
  readonly writable: boolean;
  readonly noExecute: boolean;
}

/** A flag update in a table entry: its low 32 bits before and after. */
export interface Update {
  readonly address: bigint;
  readonly before: number;
  readonly after: number;
}

interface Step {
  readonly address: bigint;
  readonly value: bigint;
}

interface Leaf {
  readonly frame: bigint;
  readonly pageBytes: bigint;
  readonly steps: readonly Step[];
}

const bit = (value: bigint, n: number): boolean => ((value >> BigInt(n)) & 1n) === 1n;
const field = (value: bigint, high: number, low: number): bigint => (value >> BigInt(low)) & ((1n << BigInt(high - low + 1)) - 1n);
const anySet = (value: bigint, high: number, low: number): boolean => high >= low && field(value, high, low) !== 0n;

type WalkResult = Leaf | 'not-present' | 'reserved' | 'restart';

function walk32(mode: OracleMode, linear: bigint): WalkResult {
  const pdeAddress = (field(mode.cr3, 31, 12) << 12n) + field(linear, 31, 22) * 4n;
  const pde = mode.read(pdeAddress, 4);
  if (!bit(pde, 0)) return 'not-present';
  const first = { address: pdeAddress, value: pde };
  if (mode.pse && bit(pde, 7)) {
    const m = Math.min(40, mode.maxPhysicalAddress);
    if (anySet(pde, 21, m - 19)) return 'reserved';
    const base = (field(pde, 20, 13) << 32n) | (field(pde, 31, 22) << 22n);
    return { frame: base + field(linear, 21, 0), pageBytes: 1n << 22n, steps: [first] };
  }
  const pteAddress = (field(pde, 31, 12) << 12n) + field(linear, 21, 12) * 4n;
  const pte = mode.read(pteAddress, 4);
  if (!bit(pte, 0)) return 'not-present';
  return { frame: (field(pte, 31, 12) << 12n) + field(linear, 11, 0), pageBytes: 4096n, steps: [first, { address: pteAddress, value: pte }] };
}

/** Names the level of a table, and which linear bits select its entry. */
const LEVELS = [
  { name: 'pml5', high: 56, low: 48 },
  { name: 'pml4', high: 47, low: 39 },
  { name: 'pdpt', high: 38, low: 30 },
  { name: 'pd', high: 29, low: 21 },
  { name: 'pt', high: 20, low: 12 },
] as const;

function walk64(mode: OracleMode, linear: bigint, from: 'pml5' | 'pml4' | 'pd', root: bigint, hlat = false): WalkResult {
  const steps: Step[] = [];
  let table = root;
  for (const level of LEVELS.slice(LEVELS.findIndex((l) => l.name === from))) {
    const address = table + field(linear, level.high, level.low) * 8n;
    const value = mode.read(address, 8);
    if (!bit(value, 0)) return 'not-present';
    if (hlat && bit(value, 11)) return 'restart';
    if (bit(value, 63) && !mode.nxe) return 'reserved';
    if (anySet(value, 51, mode.maxPhysicalAddress)) return 'reserved';
    if (!mode.lma && anySet(value, 62, 52)) return 'reserved';
    steps.push({ address, value });
    const page = level.name !== 'pt' && bit(value, 7);
    if (page && (level.name === 'pml5' || level.name === 'pml4')) return 'reserved';
    if (page && level.name === 'pdpt' && !mode.pages1g) return 'reserved';
    if (page && anySet(value, level.low - 1, 13)) return 'reserved';
    if (page || level.name === 'pt') {
      const base = field(value, 51, level.low) << BigInt(level.low);
      return { frame: base + field(linear, level.low - 1, 0), pageBytes: 1n << BigInt(level.low), steps };
    }
    table = field(value, 51, 12) << 12n;
  }
  throw new Error('a walk ends at the page table');
}

function walkPae(mode: OracleMode, linear: bigint): WalkResult {
  const index = field(linear, 31, 30);
  const inMemory = mode.pdptesInMemory === true;
  const pdpte = inMemory ? mode.read((field(mode.cr3, 31, 5) << 5n) + index * 8n, 8) : mode.pdpte[Number(index)]!;
  if (!bit(pdpte, 0)) return 'not-present';
  if (inMemory && (anySet(pdpte, 2, 1) || anySet(pdpte, 8, 5) || anySet(pdpte, 63, mode.maxPhysicalAddress))) return 'reserved';
  return walk64(mode, linear, 'pd', field(pdpte, 51, 12) << 12n);
}

function walk(mode: OracleMode, linear: bigint): WalkResult {
  if (!mode.pae) return walk32(mode, linear);
  if (!mode.lma) return walkPae(mode, linear);
  const { hlat } = mode;
  if (hlat !== undefined && (hlat.prefix === 0 || field(linear, 63, 64 - hlat.prefix) === (1n << BigInt(hlat.prefix)) - 1n)) {
    const walked = walk64(mode, linear, mode.la57 ? 'pml5' : 'pml4', hlat.root, true);
    if (walked !== 'restart') return walked;
  }
  return walk64(mode, linear, mode.la57 ? 'pml5' : 'pml4', field(mode.cr3, 51, 12) << 12n);
}

/** Does the protection key of the leaf forbid the access? */
function keyForbids(mode: OracleMode, access: OracleAccess, userAddress: boolean, leaf: bigint): boolean {
  if (!mode.lma || access.kind === 'fetch') return false;
  if (userAddress ? !mode.pke : !mode.pks) return false;
  const register = userAddress ? mode.pkru : mode.pkrs;
  const key = Number(field(leaf, 62, 59));
  const accessDisable = ((register >>> (2 * key)) & 1) === 1;
  const writeDisable = ((register >>> (2 * key + 1)) & 1) === 1;
  if (accessDisable) return true;
  return writeDisable && access.kind === 'write' && (access.userMode || mode.wp);
}

function rightsForbid(mode: OracleMode, access: OracleAccess, userAddress: boolean, writable: boolean, noExecute: boolean): boolean {
  if (access.userMode) {
    if (!userAddress) return true;
    if (access.kind === 'write') return !writable;
    return access.kind === 'fetch' && noExecute;
  }
  if (access.kind === 'fetch') return noExecute || (userAddress && mode.smep);
  if (userAddress && mode.smap && (access.implicit || !mode.ac)) return true;
  return access.kind === 'write' && mode.wp && !writable;
}

/** A shadow-stack address: the leaf is not writable and dirty, all other entries are writable. */
function isShadowStack(steps: readonly Step[]): boolean {
  const leaf = steps.at(-1)!.value;
  return !bit(leaf, 1) && bit(leaf, 6) && steps.slice(0, -1).every(({ value }) => bit(value, 1));
}

function errorCode(mode: OracleMode, access: OracleAccess, bits: { p: boolean; rsvd: boolean; pk: boolean }): number {
  const i = access.kind === 'fetch' && (mode.smep || (mode.pae && mode.nxe));
  const shadow = access.shadowStack === true ? 64 : 0;
  return (
    (bits.p ? 1 : 0) |
    (access.kind === 'write' ? 2 : 0) |
    (access.userMode ? 4 : 0) |
    (bits.rsvd ? 8 : 0) |
    (i ? 16 : 0) |
    (bits.pk ? 32 : 0) |
    shadow
  );
}

function flagUpdates(steps: readonly Step[], write: boolean): Update[] {
  const updates: Update[] = [];
  steps.forEach(({ address, value }, index) => {
    const before = Number(value & 0xffff_ffffn) | 0;
    let after = before | 0x20;
    if (write && index === steps.length - 1) after |= 0x40;
    if (after !== before) updates.push({ address, before, after });
  });
  return updates;
}

/** Translates one access and says what it does to the tables; `updates` are not performed. */
export function oracle(mode: OracleMode, access: OracleAccess): OracleResult {
  if (!mode.pg) {
    return { ok: true, physical: access.linear, pageBytes: 4096n, updates: [], rights: { user: true, writable: true, noExecute: false } };
  }
  const leaf = walk(mode, access.linear);
  if (leaf === 'not-present') return { ok: false, errorCode: errorCode(mode, access, { p: false, rsvd: false, pk: false }) };
  if (leaf === 'reserved' || leaf === 'restart') return { ok: false, errorCode: errorCode(mode, access, { p: true, rsvd: true, pk: false }) };
  const userAddress = leaf.steps.every(({ value }) => bit(value, 2));
  const writable = leaf.steps.every(({ value }) => bit(value, 1));
  const noExecute = mode.nxe && leaf.steps.some(({ value }) => bit(value, 63));
  const pk = keyForbids(mode, access, userAddress, leaf.steps.at(-1)!.value);
  const forbidden =
    access.shadowStack === true
      ? access.userMode !== userAddress || !isShadowStack(leaf.steps)
      : rightsForbid(mode, access, userAddress, writable, noExecute);
  if (pk || forbidden) {
    return { ok: false, errorCode: errorCode(mode, access, { p: true, rsvd: false, pk }) };
  }
  const rights = { user: userAddress, writable, noExecute };
  return { ok: true, physical: leaf.frame, pageBytes: leaf.pageBytes, updates: flagUpdates(leaf.steps, access.kind === 'write'), rights };
}

/** The entries that a linear address is translated by, and the size of its page, whatever the rights; undefined when it is not mapped. */
export function trace(mode: OracleMode, linear: bigint): { readonly addresses: readonly bigint[]; readonly pageBytes: bigint } | undefined {
  const leaf = walk(mode, linear);
  return typeof leaf === 'string' ? undefined : { addresses: leaf.steps.map(({ address }) => address), pageBytes: leaf.pageBytes };
}
