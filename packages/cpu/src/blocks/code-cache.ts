import type { Arena, PhysicalMemory } from '@nestvm/memory';
import { PAGE_BYTES, PageFlag } from '@nestvm/memory';
import { BLOCK_CACHE_BYTES, blockCacheOffset, SECOND_PLACE } from '../interpreter/entering.js';
import { Record, Slot } from '../interpreter/record.js';
import { BlockTable } from './block-table.js';
import { LINE_BITS, LINE_WORDS, WrittenPages } from './written-pages.js';

const PAGE_BITS = 12;
/** For a page that has code, there is no need to count. */
const UNCOUNTED = 0x7fffffff;

/** The decoded blocks of one arena page. */
class CodePage {
  /** First record and record count of every block, pairwise: so many numbers of it are in use. */
  readonly records: number[] = [];
  used = 0;
  /** Bits of the lines that hold decoded bytes. */
  readonly covered = new Int32Array(LINE_WORDS);
  /** Writes since there was code in it, but for those that generated code has done since it last was among the `WrittenPages`. */
  quiet = 0;

  /** Whether one of the lines from `line` to `last` holds decoded bytes. */
  isCovered(line: number, last: number): boolean {
    for (let at = line; at <= last; at++) if (((this.covered[at >>> 5]! >>> at) & 1) !== 0) return true;
    return false;
  }

  /** A block of so many records came to it. */
  add(record: number, count: number): void {
    this.records[this.used++] = record;
    this.records[this.used++] = count;
  }

  /** All of its code has gone. Nothing is given back: where code is rewritten, as much will come. */
  clear(): void {
    this.used = 0;
    for (let word = 0; word < LINE_WORDS; word++) this.covered[word] = 0;
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
  /** For generated code that writes beside code. */
  readonly written: WrittenPages;
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
    this.written = new WrittenPages(arena);
    memory.onCodeWrite = (offset, length) => this.noteWrite(offset, length);
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
    page.add(record, count);
    this.cover(page, arenaOffset, bytes);
  }

  /** Says that a block also comes from `bytes` bytes at the start of another page. */
  addSecondPage(arenaOffset: number, record: number, count: number, bytes: number): void {
    const page = this.page(arenaOffset >>> PAGE_BITS);
    page.add(record, count);
    this.cover(page, arenaOffset, bytes);
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
    this.written.clear();
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

  private cover(page: CodePage, arenaOffset: number, bytes: number): void {
    const offset = arenaOffset & (PAGE_BYTES - 1);
    const last = (offset + bytes - 1) >>> LINE_BITS;
    for (let line = offset >>> LINE_BITS; line <= last; line++) page.covered[line >>> 5]! |= 1 << line;
    if (this.written.holds(arenaOffset >>> PAGE_BITS)) this.written.put(arenaOffset >>> PAGE_BITS, page.covered, UNCOUNTED);
  }

  /** Something is about to write `length` bytes inside one page of code. */
  private noteWrite(arenaOffset: number, length: number): void {
    const arenaPage = arenaOffset >>> PAGE_BITS;
    const page = this.pages.get(arenaPage);
    if (page === undefined) return;
    const offset = arenaOffset & (PAGE_BYTES - 1);
    if (page.isCovered(offset >>> LINE_BITS, (offset + length - 1) >>> LINE_BITS)) return this.invalidate(arenaPage, page);
    if (page.used > 0) return this.written.put(arenaPage, page.covered, UNCOUNTED);
    if (this.written.holds(arenaPage)) page.quiet = QUIET_WRITES - this.written.left(arenaPage);
    if (++page.quiet <= QUIET_WRITES) return this.written.put(arenaPage, page.covered, QUIET_WRITES - page.quiet);
    this.pages.delete(arenaPage);
    this.written.drop(arenaPage);
    this.options.memory.clearFlag(arenaPage, PageFlag.CODE);
  }

  private invalidate(arenaPage: number, page: CodePage): void {
    this.invalidations++;
    const { i32 } = this;
    for (let i = 0; i < page.used; i += 2) {
      const start = page.records[i]! >>> 2;
      const words = page.records[i + 1]! * (Record.BYTES >>> 2);
      for (let at = start; at < start + words; at += Record.BYTES >>> 2) i32[at] = Slot.STALE;
    }
    page.clear();
    this.written.put(arenaPage, page.covered, QUIET_WRITES);
    this.onDropped?.(arenaPage);
  }
}
