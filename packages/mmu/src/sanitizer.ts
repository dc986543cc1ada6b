import type { PhysicalMemory } from '@nestvm/memory';
import { PAGE_BYTES, PageFlag } from '@nestvm/memory';
import type { Shadow, ShadowStep } from './shadow.js';
import { TLB_BANK_BYTES } from './tlb/layout.js';

/** A translation that a TLB may still use although the tables say something else now, because nothing that demands its end came in between. */
export interface StaleTranslation {
  /** The linear address that was accessed. */
  readonly linear: bigint;
  readonly access: 'read' | 'write' | 'execute';
  /** Physical page that the TLB has. */
  readonly cachedPage: number;
  /** What a fresh walk says; its `entry` is undefined when nothing is mapped any more. */
  readonly fresh: Shadow;
  /** The first entry that has changed since: as it was, as it is (undefined: no longer reached), and where it was written (undefined: not by a vCPU that tells). */
  readonly before: ShadowStep | undefined;
  readonly after: ShadowStep | undefined;
  readonly changedAt: bigint | undefined;
  /** Where the access was made. */
  readonly at: bigint | undefined;
}

/** The debug mode of `Mmu` that judges every use of the TLB. */
export interface SanitizerOptions {
  readonly report: (stale: StaleTranslation) => void;
  /** RIP of the vCPU that is running, for reports. */
  readonly where?: () => bigint;
}

const KINDS = ['read', 'write', 'execute'] as const;
/** Accessed and dirty flags change by themselves. */
const FLAGS = { guest: 0x60n, nested: 0x360n };

/** Where a cached translation came from, and the count of writes when it was last found to agree. */
interface Source {
  readonly steps: readonly ShadowStep[];
  checked: number;
}

/** Remembers which entries each cached translation came from, and who wrote them last. */
export class Sanitizer {
  /** Arena offset of the bank that generated code gets: it holds the entries that were judged since tables were written last. */
  readonly judgedBank: number;
  /** Words of `judgedBank` in use. */
  private readonly judged: number[] = [];
  private readonly sources = new Map<number, Source>();
  /** Counts writes to pages that hold table entries: without one, nothing can have become stale. */
  private writes = 0;
  private readonly writers = new Map<number, bigint>();

  constructor(
    private readonly memory: PhysicalMemory,
    private readonly options: SanitizerOptions,
  ) {
    const { arena } = memory;
    this.judgedBank = arena.allocate('judged tlb bank', TLB_BANK_BYTES, 4096);
    arena.u8.fill(0xff, this.judgedBank, this.judgedBank + TLB_BANK_BYTES);
    const previous = memory.onWatchedWrite;
    memory.onWatchedWrite = (at, length) => {
      previous(at, length);
      this.noteWrite(at, length);
    };
  }

  /** A translation was put into the slot at word `slot`. */
  filled(slot: number, steps: readonly ShadowStep[]): void {
    this.sources.set(slot, { steps, checked: this.writes });
    for (const { address } of steps) {
      const at = this.memory.arenaOffsetOf(address);
      if (at >= 0) this.memory.setFlag((at / PAGE_BYTES) >>> 0, PageFlag.WATCHED);
    }
  }

  /** Lets generated code use the translation in a slot, `offset` words into its bank, until tables are written or something is forgotten. */
  lend(slot: number, offset: number): void {
    const { i32 } = this.memory.arena;
    const at = this.judgedBank / 4 + offset;
    for (let i = 0; i < 4; i++) i32[at + i] = i32[slot + i]!;
    this.judged.push(at);
  }

  /** Takes back everything that was lent. */
  recall(): void {
    const { i32 } = this.memory.arena;
    for (const at of this.judged) {
      i32[at] = -1;
      i32[at + 1] = -1;
    }
    this.judged.length = 0;
  }

  /** Whether the translation in a slot may disagree with the tables by now. */
  mustJudge(slot: number): boolean {
    const source = this.sources.get(slot);
    if (source === undefined || source.checked === this.writes) return false;
    source.checked = this.writes;
    return true;
  }

  /** The translation in a slot is used: reports it when a fresh walk disagrees, once for each fill. `mayStill` says whether the fresh entry allows the access. */
  used(slot: number, type: number, lo: number, hi: number, cachedPage: number, fresh: Shadow, mayStill: boolean): void {
    const steps = this.sources.get(slot)?.steps;
    if (steps === undefined) return;
    const page = fresh.entry === undefined ? -1 : Math.floor(fresh.entry.physical / PAGE_BYTES) % 0x1_0000_0000;
    if (page === cachedPage && mayStill) return;
    this.sources.delete(slot);
    const index = steps.findIndex((step, i) => !sameStep(step, fresh.steps[i]));
    const before = steps[index];
    const offset = before === undefined ? -1 : this.memory.arenaOffsetOf(before.address);
    this.options.report({
      linear: (BigInt(hi >>> 0) << 32n) | BigInt(lo >>> 0),
      access: KINDS[type]!,
      cachedPage,
      fresh,
      before,
      after: fresh.steps[index],
      changedAt: offset < 0 ? undefined : this.writers.get(offset - (offset % 4)),
      at: this.options.where?.(),
    });
  }

  private noteWrite(at: number, length: number): void {
    this.writes++;
    this.recall();
    const rip = this.options.where?.();
    if (rip === undefined) return;
    for (let word = at - (at % 4); word < at + length; word += 4) this.writers.set(word, rip);
  }
}

function sameStep(a: ShadowStep, b: ShadowStep | undefined): boolean {
  if (b === undefined || a.address !== b.address || a.stage !== b.stage) return false;
  return ((a.entry ^ b.entry) & ~FLAGS[a.stage]) === 0n;
}

/** A report as one line. */
export function formatStale(stale: StaleTranslation): string {
  const hex = (value: number | bigint): string => value.toString(16);
  const { before, after, fresh } = stale;
  const now = fresh.entry === undefined ? fresh.outcome : `physical page ${hex(Math.floor(fresh.entry.physical / PAGE_BYTES))}`;
  const changed =
    before === undefined
      ? 'no entry has changed'
      : `${before.stage} entry of level ${before.level} at ${hex(before.address)} was ${hex(before.entry)}, is ${after === undefined ? 'not reached' : hex(after.entry)}`;
  const writer = stale.changedAt === undefined ? '' : `, written at ${hex(stale.changedAt)}`;
  const where = stale.at === undefined ? '' : ` at ${hex(stale.at)}`;
  return `stale translation used${where}: ${stale.access} of ${hex(stale.linear)} goes to physical page ${hex(stale.cachedPage)}, the tables say ${now}; ${changed}${writer}; no invalidation since`;
}
