import type { LinearRights, OracleAccess, OracleMode } from './oracle.js';
import { oracle } from './oracle.js';

/**
 * The naive second stage: no cache, written from the manuals' prose (SDM Vol. 3, "The Extended Page Table Mechanism"; APM Vol. 2, "Nested Paging") and from
 * nothing in `src`. It changes a copy of memory, so that the flags it sets can be compared with those that the MMU set.
 */

/** EPT or NPT with its controls, in the manuals' words. */
export interface OracleStage {
  readonly kind: 'ept' | 'npt';
  readonly format: 'legacy32' | 'pae' | 'level4' | 'level5';
  readonly root: number;
  readonly maxPhysicalAddress: number;
  readonly accessedDirty: boolean;
  readonly executeOnly: boolean;
  readonly modeBased: boolean;
  readonly subPages: boolean;
  readonly log: boolean;
  readonly pagingWrite: boolean;
  readonly pagingVerify: boolean;
  readonly advanced: boolean;
  readonly nx: boolean;
  readonly pse: boolean;
  readonly pages1g: boolean;
  readonly pages2m: boolean;
  readonly sppTable: number;
  readonly pmlAddress: number;
}

/** What a refusal must look like. */
export interface OracleFault {
  readonly kind: 'violation' | 'misconfiguration' | 'log-full' | 'spp-miss' | 'spp-misconfiguration';
  readonly guestPhysical: number;
  readonly tableWalk: boolean;
  readonly qualification: number;
  readonly errorLow: number;
  readonly errorHigh: number;
  readonly suppressVe: boolean;
}

/** Outcome of one access through both stages. */
export type NestedResult =
  | { readonly outcome: 'ok'; readonly physical: number }
  | { readonly outcome: 'page-fault'; readonly errorCode: number }
  | { readonly outcome: 'stage'; readonly fault: OracleFault };

/** An entry as two unsigned words; bit and field by the manual's numbers. */
interface Value {
  readonly low: number;
  readonly high: number;
}

const bit = (value: Value, n: number): boolean => (((n < 32 ? value.low : value.high) >>> (n & 31)) & 1) === 1;
const anySet = (value: Value, top: number, bottom: number): boolean => {
  for (let n = bottom; n <= top; n++) if (bit(value, n)) return true;
  return false;
};
const addressOf = (value: Value): number => (value.high % 2 ** 20) * 2 ** 32 + Math.floor(value.low / 4096) * 4096;
const indexOf = (address: number, top: number, bottom: number): number => Math.floor(address / 2 ** bottom) % 2 ** (top - bottom + 1);

const LEVELS = [
  { top: 56, bottom: 48, leaf: false },
  { top: 47, bottom: 39, leaf: false },
  { top: 38, bottom: 30, leaf: true },
  { top: 29, bottom: 21, leaf: true },
  { top: 20, bottom: 12, leaf: true },
] as const;

interface Walked {
  readonly end: 'mapped' | 'not-present' | 'bad';
  readonly values: readonly Value[];
  readonly addresses: readonly number[];
  readonly base: number;
  readonly bytes: number;
}

type Use = { readonly table: 'read' | 'update' } | { readonly final: 'read' | 'write' | 'fetch'; readonly rights: LinearRights };

class Refused extends Error {
  constructor(readonly fault: OracleFault) {
    super('refused');
  }
}

/** Both stages over a private copy of what they change. */
export class NestedOracle {
  /** Words that differ from memory, by physical address. */
  readonly changed = new Map<number, number>();
  /** Guest-physical pages that the log must have received, and its next index. */
  readonly logged: number[] = [];
  /** A guest access reached a page of second-stage tables or the log, whose meaning its flags may change: the case is no test. */
  overlap = false;
  /** The first entry that the access read has got a flag: as a PDPTE it is reserved now, so that another walk, or another try of this one, would be refused. */
  firstEntryChanged = false;
  private tablesMayBeWritten = true;

  constructor(
    private readonly stage: OracleStage,
    private readonly read32: (address: number) => number,
    private readonly isStagePage: (address: number) => boolean,
    private readonly isGuestPage: (address: number) => boolean,
    private pmlIndex: number,
  ) {}

  /** One access; `mode.read` is ignored, guest tables are read through the second stage. */
  access(mode: OracleMode, access: OracleAccess): NestedResult {
    this.tablesMayBeWritten = true;
    try {
      let first = -1;
      const read = (address: bigint, bytes: 4 | 8): bigint => {
        const at = this.guestAddress(Number(address), { table: 'read' });
        if (first < 0) first = at;
        const low = BigInt(this.word(at));
        return bytes === 4 ? low : low | (BigInt(this.word(at + 4)) << 32n);
      };
      const result = oracle({ ...mode, read }, access);
      if (!result.ok) return { outcome: 'page-fault', errorCode: result.errorCode };
      const physical = this.guestAddress(Number(result.physical), { final: access.kind, rights: result.rights });
      for (const { address, after } of result.updates) {
        const at = this.guestAddress(Number(address), { table: 'update' });
        this.set(at, this.word(at) | (after & 0x60));
        if (at === first) this.firstEntryChanged = true;
      }
      return { outcome: 'ok', physical };
    } catch (refused) {
      if (refused instanceof Refused) return { outcome: 'stage', fault: refused.fault };
      throw refused;
    }
  }

  private word(address: number): number {
    return (this.changed.get(address) ?? this.read32(address)) >>> 0;
  }

  private set(address: number, value: number): void {
    if (this.word(address) !== value >>> 0) this.changed.set(address, value >>> 0);
  }

  private entry(address: number, bytes: number): Value {
    if (this.isGuestPage(address)) this.overlap = true;
    return { low: this.word(address), high: bytes === 4 ? 0 : this.word(address + 4) };
  }

  /** Physical address for one use of a guest-physical address; throws `Refused`. */
  private guestAddress(address: number, use: Use): number {
    const { stage } = this;
    const walked = this.walk(address);
    if (walked.end !== 'mapped' || !this.granted(walked, use)) this.refuse(address, walked, use);
    const writes = 'table' in use ? use.table === 'update' || this.tableReadsWrite() : use.final === 'write';
    const leaf = walked.values.at(-1)!;
    if ('final' in use && writes && !this.bitInAll(walked, 1) && stage.kind === 'ept') this.checkSubPage(address, use);
    if ('final' in use && stage.kind === 'ept' && stage.pagingVerify && bit(leaf, 57) && !this.tablesMayBeWritten) {
      this.refuse(address, walked, use, 1 << 15);
    }
    this.flag(address, walked, writes);
    if ('table' in use && !(stage.kind === 'ept' && bit(leaf, 58))) this.tablesMayBeWritten = false;
    const physical = walked.base + (address % walked.bytes);
    if (this.isStagePage(physical)) this.overlap = true;
    return physical;
  }

  private tableReadsWrite(): boolean {
    return this.stage.kind === 'npt' || this.stage.accessedDirty;
  }

  private walk(address: number): Walked {
    const { stage } = this;
    if (stage.format === 'legacy32') return this.walk32(address);
    if (stage.format === 'pae') return this.walkPae(address);
    if (stage.format === 'level4' && address >= 2 ** 48)
      return { end: 'not-present', values: [{ low: 0, high: 0 }], addresses: [], base: 0, bytes: 1 };
    return this.walkLevels(address, stage.format === 'level5' ? 0 : 1, stage.root);
  }

  private walkLevels(address: number, from: number, root: number): Walked {
    const values: Value[] = [];
    const addresses: number[] = [];
    let table = root;
    for (let level = from; ; level++) {
      const { top, bottom } = LEVELS[level]!;
      const at = table + indexOf(address, top, bottom) * 8;
      const value = this.entry(at, 8);
      values.push(value);
      addresses.push(at);
      const judged = this.judge(value, level);
      if (judged === 'not-present' || judged === 'bad') return { end: judged, values, addresses, base: 0, bytes: 1 };
      if (judged === 'page') {
        const bytes = 2 ** bottom;
        return { end: 'mapped', values, addresses, base: Math.floor(addressOf(value) / bytes) * bytes, bytes };
      }
      table = addressOf(value);
    }
  }

  private judge(value: Value, level: number): 'not-present' | 'bad' | 'page' | 'table' {
    return this.stage.kind === 'ept' ? this.judgeEpt(value, level) : this.judgeNpt(value, level);
  }

  private judgeEpt(value: Value, level: number): 'not-present' | 'bad' | 'page' | 'table' {
    const { stage } = this;
    const [read, write, execute, userExecute] = [bit(value, 0), bit(value, 1), bit(value, 2), stage.modeBased && bit(value, 10)];
    if (!read && !write && !execute && !userExecute) return 'not-present';
    if (!read && write) return 'bad';
    if (!read && !stage.executeOnly) return 'bad';
    if (anySet(value, 51, stage.maxPhysicalAddress)) return 'bad';
    if (level === 4 || (bit(value, 7) && ((level === 3 && stage.pages2m) || (level === 2 && stage.pages1g)))) {
      if (anySet(value, LEVELS[level]!.bottom - 1, 12)) return 'bad';
      if ([2, 3, 7].includes((value.low >>> 3) & 7)) return 'bad';
      return stage.pagingWrite && bit(value, 58) && !read ? 'bad' : 'page';
    }
    return anySet(value, 7, 3) ? 'bad' : 'table';
  }

  private judgeNpt(value: Value, level: number): 'not-present' | 'bad' | 'page' | 'table' {
    const { stage } = this;
    if (!bit(value, 0)) return 'not-present';
    if (!stage.nx && bit(value, 63)) return 'bad';
    if (anySet(value, 51, stage.maxPhysicalAddress)) return 'bad';
    if (stage.format === 'pae' && anySet(value, 62, 52)) return 'bad';
    if (level === 4) return 'page';
    if (!bit(value, 7)) return 'table';
    if (level < 2 || (level === 2 && !stage.pages1g)) return 'bad';
    return anySet(value, LEVELS[level]!.bottom - 1, 13) ? 'bad' : 'page';
  }

  private walkPae(address: number): Walked {
    if (address >= 2 ** 32) return { end: 'not-present', values: [{ low: 0, high: 0 }], addresses: [], base: 0, bytes: 1 };
    const at = this.stage.root + indexOf(address, 31, 30) * 8;
    const pdpte = this.entry(at, 8);
    const none = { values: [pdpte], addresses: [], base: 0, bytes: 1 };
    if (!bit(pdpte, 0)) return { end: 'not-present', ...none };
    if (anySet(pdpte, 2, 1) || anySet(pdpte, 8, 5) || anySet(pdpte, 63, this.stage.maxPhysicalAddress)) return { end: 'bad', ...none };
    return this.walkLevels(address, 3, addressOf(pdpte));
  }

  private walk32(address: number): Walked {
    const { stage } = this;
    const none = { values: [{ low: 0, high: 0 }], addresses: [], base: 0, bytes: 1 };
    if (address >= 2 ** 32) return { end: 'not-present', ...none };
    const first = stage.root + indexOf(address, 31, 22) * 4;
    const pde = this.entry(first, 4);
    if (!bit(pde, 0)) return { end: 'not-present', ...none };
    if (stage.pse && bit(pde, 7)) {
      if (anySet(pde, 21, Math.min(40, stage.maxPhysicalAddress) - 19)) return { end: 'bad', ...none };
      const base = ((pde.low >>> 13) & 0xff) * 2 ** 32 + Math.floor(pde.low / 2 ** 22) * 2 ** 22;
      return { end: 'mapped', values: [pde], addresses: [first], base, bytes: 2 ** 22 };
    }
    const second = addressOf(pde) + indexOf(address, 21, 12) * 4;
    const pte = this.entry(second, 4);
    if (!bit(pte, 0)) return { end: 'not-present', ...none };
    return { end: 'mapped', values: [pde, pte], addresses: [first, second], base: addressOf(pte), bytes: 4096 };
  }

  private bitInAll(walked: Walked, n: number): boolean {
    return walked.values.every((value) => bit(value, n));
  }

  private granted(walked: Walked, use: Use): boolean {
    return this.stage.kind === 'ept' ? this.grantedByEpt(walked, use) : this.grantedByNpt(walked, use);
  }

  private grantedByNpt(walked: Walked, use: Use): boolean {
    if (!this.bitInAll(walked, 2)) return false;
    if ('table' in use || use.final === 'write') return this.bitInAll(walked, 1);
    return use.final === 'read' || !walked.values.some((value) => bit(value, 63));
  }

  private grantedByEpt(walked: Walked, use: Use): boolean {
    const { stage } = this;
    if ('table' in use) {
      if (!this.bitInAll(walked, 0)) return false;
      if (use.table === 'read' && !stage.accessedDirty) return true;
      if (this.bitInAll(walked, 1)) return true;
      return stage.pagingWrite && walked.values.slice(0, -1).every((value) => bit(value, 1)) && bit(walked.values.at(-1)!, 58);
    }
    if (use.final === 'read') return this.bitInAll(walked, 0);
    if (use.final === 'fetch') return this.bitInAll(walked, stage.modeBased && use.rights.user ? 10 : 2);
    return this.bitInAll(walked, 1) || this.hasSubPages(walked);
  }

  private hasSubPages(walked: Walked): boolean {
    const above = walked.values.slice(0, -1);
    const leaf = walked.values.at(-1)!;
    return this.stage.subPages && walked.bytes === 4096 && above.every((value) => bit(value, 1)) && bit(leaf, 61) && this.bitInAll(walked, 0);
  }

  private checkSubPage(address: number, use: Use): void {
    const fault = { guestPhysical: address, tableWalk: false, qualification: 0, errorLow: 0, errorHigh: 0, suppressVe: false };
    let table = this.stage.sppTable;
    for (let level = 1; level < 4; level++) {
      const value = this.entry(table + indexOf(address, LEVELS[level]!.top, LEVELS[level]!.bottom) * 8, 8);
      if (!bit(value, 0)) throw new Refused({ ...fault, kind: 'spp-miss' });
      if (anySet(value, 11, 1) || anySet(value, 63, this.stage.maxPhysicalAddress)) throw new Refused({ ...fault, kind: 'spp-misconfiguration' });
      table = addressOf(value);
    }
    const vector = this.entry(table + indexOf(address, 20, 12) * 8, 8);
    for (let n = 1; n < 64; n += 2) if (bit(vector, n)) throw new Refused({ ...fault, kind: 'spp-misconfiguration' });
    if (!bit(vector, 2 * Math.floor((address % 4096) / 128))) this.refuse(address, this.walk(address), use);
  }

  /** Sets accessed and dirty flags, and logs the page. */
  private flag(address: number, walked: Walked, writes: boolean): void {
    const { stage } = this;
    if (stage.kind === 'ept' && !stage.accessedDirty) return;
    const [accessed, dirty] = stage.kind === 'ept' ? [1 << 8, 1 << 9] : [1 << 5, 1 << 6];
    const leaf = walked.addresses.length - 1;
    const logs = stage.log && stage.kind === 'ept' && writes && (this.word(walked.addresses[leaf]!) & dirty) === 0;
    if (logs && this.pmlIndex > 511) {
      const none = { tableWalk: false, qualification: 0, errorLow: 0, errorHigh: 0, suppressVe: false };
      throw new Refused({ kind: 'log-full', guestPhysical: address, ...none });
    }
    walked.addresses.forEach((at, i) => this.set(at, this.word(at) | accessed | (writes && i === leaf ? dirty : 0)));
    if (!logs) return;
    this.logged.push(Math.floor(address / 4096) * 4096);
    this.pmlIndex = (this.pmlIndex + 0xffff) % 0x1_0000;
  }

  private refuse(address: number, walked: Walked, use: Use, extra = 0): never {
    const { stage } = this;
    const tableWalk = 'table' in use;
    const common = { guestPhysical: address, tableWalk };
    if (stage.kind === 'npt') {
      const fetch = !tableWalk && use.final === 'fetch' && stage.nx && stage.format !== 'legacy32';
      const write = tableWalk || use.final === 'write';
      const errorLow = (walked.end === 'not-present' ? 0 : 1) | (write ? 2 : 0) | 4 | (walked.end === 'bad' ? 8 : 0) | (fetch ? 16 : 0);
      throw new Refused({ ...common, kind: 'violation', qualification: 0, errorLow, errorHigh: tableWalk ? 2 : 1, suppressVe: false });
    }
    const suppressVe = bit(walked.values.at(-1)!, 63);
    const kind = walked.end === 'bad' ? 'misconfiguration' : 'violation';
    const qualification = kind === 'violation' ? this.qualification(walked, use) | extra : 0;
    throw new Refused({ ...common, kind, qualification, errorLow: 0, errorHigh: 0, suppressVe });
  }

  private qualification(walked: Walked, use: Use): number {
    const { stage } = this;
    let bits = 1 << 7;
    if ('table' in use) bits |= stage.accessedDirty ? 3 : use.table === 'update' ? 2 : 1;
    else bits |= { read: 1, write: 2, fetch: 4 }[use.final] | (1 << 8);
    if (walked.end === 'mapped') {
      for (let n = 0; n < 3; n++) if (this.bitInAll(walked, n)) bits |= 8 << n;
      if (stage.modeBased && this.bitInAll(walked, 10)) bits |= 1 << 6;
    }
    if ('final' in use && stage.advanced) {
      bits |= (use.rights.user ? 1 << 9 : 0) | (use.rights.writable ? 1 << 10 : 0) | (use.rights.noExecute ? 1 << 11 : 0);
    }
    return bits;
  }
}
