import type { Arena, PhysicalMemory } from '@nestvm/memory';
import { PAGE_BYTES, PageFlag } from '@nestvm/memory';
import { BLOCK_CACHE_BYTES, blockCacheOffset, SECOND_PLACE } from '../interpreter/entering.js';
import { Record, Slot } from '../interpreter/record.js';
import { BlockTable } from './block-table.js';

const PAGE_BITS = 12;
/** log2 of the granularity in which writes beside code are told from writes to it. */
const LINE_BITS = 4;
const LINES = PAGE_BYTES >>> LINE_BITS;

/** The decoded blocks of one arena page. */
class CodePage {
  /** First record and record count of every block, pairwise. */
  readonly records: number[] = [];
  /** Which lines hold decoded bytes. */
  readonly covered = new Uint8Array(LINES);
  /** Writes since there was code in it. */
  quiet = 0;

  /** All of its code has gone. */
  clear(): void {
    this.records.length = 0;
    this.covered.fill(0);
    this.quiet = 0;
  }
}

/**
 * Writes that still trap after the code of a page has gone. Code that is rewritten again and again costs these and no more; to let the TLBs write to the page, and to take that from all of
 * them as soon as there is code again, costs more than the rest of a rewrite.
 */
const QUIET_WRITES = 32;

/** Room for records, and how the code cache hears of writes. */
export interface CodeCacheOptions {
  readonly arena: Arena;
  readonly memory: PhysicalMemory;
  /** Bytes for decoded records (24 MiB unless given). */
  readonly recordBytes?: number;
}

/**
 * Decoded code, by physical place and mode, shared by all vCPUs. A page with code traps writes; a write that touches decoded bytes makes
 * all of its page's records stale, so that whoever runs or links to them comes back to look again. All of it may vanish between two instructions.
 */
export class CodeCache {
  /** Byte offset of the table that the engine looks blocks up in. */
  readonly blockCache: number;
  private readonly i32: Int32Array;
  private readonly first: number;
  private readonly end: number;
  private cursor: number;
  private readonly pages = new Map<number, CodePage>();
  private readonly blocks = new BlockTable();
  /** Told when the code of an arena page was dropped, or (-1) all code. */
  onDropped: ((arenaPage: number) => void) | null = null;
  /** Times that everything was dropped for want of room. */
  flushes = 0;
  /** Times that a page of code was overwritten. */
  invalidations = 0;

  constructor(private readonly options: CodeCacheOptions) {
    const { arena, memory, recordBytes = 24 << 20 } = options;
    this.i32 = arena.i32;
    this.blockCache = arena.allocate('block cache', BLOCK_CACHE_BYTES, 64);
    this.first = arena.allocate('decoded records', recordBytes, 64);
    this.end = this.first + recordBytes;
    this.cursor = this.first;
    memory.onCodeWrite = (offset, length) => this.written(offset, length);
  }

  /** First record of the block at an arena offset in a mode, or 0. */
  find(arenaOffset: number, mode: number): number {
    const record = this.blocks.get(arenaOffset, mode);
    const slot = this.i32[record >>> 2];
    // One that has moved may lead to where its address leads now, which is another place.
    return slot === Slot.STALE || slot === Slot.MOVED ? 0 : record;
  }

  /** Whether a record is kept; one that was made for a single run is not. */
  keeps(record: number): boolean {
    return record < this.cursor;
  }

  /** Room for up to `count` records; drops everything first when there is none. */
  reserve(count: number): number {
    if (this.cursor + count * Record.BYTES > this.end) this.flush();
    return this.cursor;
  }

  /** Keeps the `count` records just written at `record` as the block for (arenaOffset, mode), decoded from `bytes` bytes in that page. */
  add(arenaOffset: number, mode: number, record: number, count: number, bytes: number): void {
    this.cursor = record + count * Record.BYTES;
    const page = this.page(arenaOffset >>> PAGE_BITS);
    this.blocks.set(arenaOffset, mode, record);
    page.records.push(record, count);
    this.cover(page, arenaOffset & (PAGE_BYTES - 1), bytes);
  }

  /** Says that a block also comes from `bytes` bytes at the start of another page. */
  addSecondPage(arenaOffset: number, record: number, count: number, bytes: number): void {
    const page = this.page(arenaOffset >>> PAGE_BITS);
    page.records.push(record, count);
    this.cover(page, arenaOffset & (PAGE_BYTES - 1), bytes);
  }

  /** Lets the engine find a block by itself. */
  publish(arenaOffset: number, mode: number, record: number): void {
    const { i32, blockCache } = this;
    const offset = blockCacheOffset(arenaOffset);
    const slot = (blockCache + offset) >>> 2;
    const driven = i32[slot]!;
    if (driven !== 0 && driven !== arenaOffset && i32[i32[slot + 2]! >>> 2] !== Slot.STALE)
      i32.copyWithin((blockCache + (offset ^ SECOND_PLACE)) >>> 2, slot, slot + 3);
    this.i32[slot] = arenaOffset;
    this.i32[slot + 1] = mode;
    this.i32[slot + 2] = record;
  }

  /** Drops all code. */
  flush(): void {
    const { memory } = this.options;
    for (const arenaPage of this.pages.keys()) memory.clearFlag(arenaPage, PageFlag.CODE);
    this.pages.clear();
    this.blocks.clear();
    this.i32.fill(0, this.blockCache >>> 2, (this.blockCache + BLOCK_CACHE_BYTES) >>> 2);
    this.cursor = this.first;
    this.flushes++;
    this.onDropped?.(-1);
  }

  private page(arenaPage: number): CodePage {
    let page = this.pages.get(arenaPage);
    if (page === undefined) {
      page = new CodePage();
      this.pages.set(arenaPage, page);
      this.options.memory.setFlag(arenaPage, PageFlag.CODE);
    }
    return page;
  }

  private cover(page: CodePage, offset: number, bytes: number): void {
    const last = (offset + bytes - 1) >>> LINE_BITS;
    for (let line = offset >>> LINE_BITS; line <= last; line++) page.covered[line] = 1;
  }

  /** Something is about to write `length` bytes inside one page of code. */
  private written(arenaOffset: number, length: number): void {
    const arenaPage = arenaOffset >>> PAGE_BITS;
    const page = this.pages.get(arenaPage);
    if (page === undefined) return;
    const offset = arenaOffset & (PAGE_BYTES - 1);
    const last = (offset + length - 1) >>> LINE_BITS;
    for (let line = offset >>> LINE_BITS; line <= last; line++) {
      if (page.covered[line] === 1) return this.invalidate(arenaPage, page);
    }
    if (page.records.length === 0 && ++page.quiet > QUIET_WRITES) {
      this.pages.delete(arenaPage);
      this.options.memory.clearFlag(arenaPage, PageFlag.CODE);
    }
  }

  private invalidate(arenaPage: number, page: CodePage): void {
    this.invalidations++;
    const { i32 } = this;
    for (let i = 0; i < page.records.length; i += 2) {
      const start = page.records[i]! >>> 2;
      const words = page.records[i + 1]! * (Record.BYTES >>> 2);
      for (let at = start; at < start + words; at += Record.BYTES >>> 2) i32[at] = Slot.STALE;
    }
    page.clear();
    this.onDropped?.(arenaPage);
  }
}
