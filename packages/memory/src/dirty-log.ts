import { PAGE_BYTES } from './arena.js';
import { PageFlag } from './page-flag.js';
import type { MemoryRange } from './ranges.js';

/** What the log needs of the memory it watches. */
export interface DirtyLogHost {
  readonly pageFlags: Uint8Array;
  ranges(): readonly MemoryRange[];
  /** Takes write access to every page away from all TLBs. */
  revokeAllWrites(): void;
}

/**
 * Which pages of RAM were ever written, and which since the last look: one bit for each arena page (bit `page & 31` of word `page >>> 5`).
 * Stores of the guest are seen because a page whose first store is still to come is in no write TLB, stores of devices because they go through `PhysicalMemory`.
 */
export class DirtyLog {
  private bitmap: Uint32Array | undefined;
  private readonly ever: Uint32Array;

  constructor(private readonly host: DirtyLogHost) {
    this.ever = new Uint32Array((host.pageFlags.length + 31) >>> 5);
  }

  /** True while writes are logged. */
  get running(): boolean {
    return this.bitmap !== undefined;
  }

  /** Begins with every page of RAM clean. */
  start(): void {
    this.bitmap = new Uint32Array(this.ever.length);
    // What was never written is trapped already.
    for (const range of this.host.ranges()) if (range.kind === 'ram') this.trap(range, (word) => ~this.ever[word]!);
    this.host.revokeAllWrites();
  }

  /** Ends; from here on only the first write to a page is noted. */
  stop(): void {
    this.bitmap = undefined;
  }

  /** The pages written since `start` or the last `take`, which are clean again now; empty when the log does not run. */
  take(): Uint32Array {
    const taken = this.bitmap;
    if (taken === undefined) return new Uint32Array(0);
    this.bitmap = new Uint32Array(taken.length);
    for (let word = 0; word < taken.length; word++) {
      for (let bits = taken[word]!; bits !== 0; bits &= bits - 1) {
        this.host.pageFlags[word * 32 + (31 - Math.clz32(bits & -bits))]! |= PageFlag.DIRTY_LOG;
      }
    }
    this.host.revokeAllWrites();
    return taken;
  }

  /** The pages that were ever written; RAM that was not is as the arena gave it, all zeros. Who writes to the arena by other ways calls `mark`, or knows better. */
  written(): Uint32Array {
    return this.ever.slice();
  }

  /** Whether an arena page was ever written. */
  wasWritten(arenaPage: number): boolean {
    return ((this.ever[arenaPage >>> 5]! >>> (arenaPage & 31)) & 1) !== 0;
  }

  /** Notes a write to an arena page, which is then trapped no longer. */
  mark(arenaPage: number): void {
    const bit = 1 << (arenaPage & 31);
    this.host.pageFlags[arenaPage]! &= ~PageFlag.DIRTY_LOG;
    this.ever[arenaPage >>> 5]! |= bit;
    if (this.bitmap !== undefined) this.bitmap[arenaPage >>> 5]! |= bit;
  }

  /** Watches a range that was mapped; while the log runs it counts as written. */
  adopt(range: MemoryRange): void {
    if (range.kind !== 'ram') return;
    if (this.bitmap === undefined) return this.trap(range, (word) => this.ever[word]!);
    const first = range.arenaOffset / PAGE_BYTES;
    for (let page = first; page < first + range.size / PAGE_BYTES; page++) this.mark(page);
  }

  /** Traps the first write to the pages of a range, but for those whose bit is set in a word of `except`. 32 pages at once where that is possible: there are many. */
  private trap({ arenaOffset, size }: MemoryRange, except: (word: number) => number): void {
    const { pageFlags } = this.host;
    const fours = new Uint32Array(pageFlags.buffer, pageFlags.byteOffset, pageFlags.length >>> 2);
    const end = (arenaOffset + size) / PAGE_BYTES;
    for (let page = arenaOffset / PAGE_BYTES; page < end; ) {
      const spared = except(page >>> 5);
      const stop = Math.min(end, (page | 31) + 1);
      if ((spared | 0) === -1) {
        page = stop;
        continue;
      }
      if (spared === 0 && stop - page === 32) {
        for (let four = page >>> 2; page < stop; page += 4) fours[four++]! |= PageFlag.DIRTY_LOG * 0x0101_0101;
        continue;
      }
      for (; page < stop; page++) if (((spared >>> (page & 31)) & 1) === 0) pageFlags[page]! |= PageFlag.DIRTY_LOG;
    }
  }
}
