import { type Handlers, Record, Slot } from '@nestvm/cpu/compiling';
import type { ArenaViews } from './arena-views.js';
import { type Block, type Edge, readBlock } from './block.js';

/** Bounds of a region. */
const MOST_BLOCKS = 64;
const MOST_INSTRUCTIONS = 600;
const PAGE_BYTES = 4096;

/** Blocks of one page that are compiled together, in an order in which jumps mostly go forward; the first one was hot. */
export interface Region {
  readonly blocks: readonly Block[];
  /** Place of a block in `blocks` by its head. */
  readonly places: ReadonlyMap<number, number>;
  /** Places of the blocks that are entered from outside or by jumps backward. */
  readonly entries: readonly number[];
  /** Places of the blocks that calls inside of the region return to. */
  readonly returns: readonly number[];
  /** Instructions of all blocks. */
  readonly instructions: number;
}

/** What a region is chosen from. */
export interface RegionSource {
  readonly views: ArenaViews;
  readonly handlers: Handlers;
  /** Rows that turned out not to be compilable. */
  readonly excluded: ReadonlySet<number>;
  /** Whether a block is worth including, by its head. */
  readonly isWarm: (head: number) => boolean;
  /** Head of the block at an offset in the page, or 0. */
  readonly blockAt: (offset: number) => number;
  /** Whether a block has been entered from outside before. */
  readonly isEntry: (head: number) => boolean;
}

/** Head of the block that an edge is linked to, or 0. */
export function linkedHead(views: ArenaViews, block: Block, edge: Edge): number {
  if (!edge.isInside) return 0;
  const target = views.i32[(block.last + edge.link) >>> 2]!;
  return target > 1 ? target : 0;
}

/** Head of the block that a call returns to, or 0. */
function returnPoint(source: RegionSource, block: Block): number {
  return block.returnsTo >= 0 && block.returnsTo < PAGE_BYTES ? source.blockAt(block.returnsTo) : 0;
}

class Explorer {
  private readonly found = new Map<number, Block>();
  private readonly order: Block[] = [];
  private instructions = 0;

  constructor(private readonly source: RegionSource) {}

  /** Reverse postorder from a block. */
  from(head: number, offset: number): Block[] {
    this.visit(head, offset, true);
    return this.order.reverse();
  }

  private visit(head: number, offset: number, isFirst: boolean): void {
    const { source } = this;
    if (this.found.has(head) || this.found.size >= MOST_BLOCKS) return;
    if (!isFirst && !source.isWarm(head)) return;
    const block = readBlock(source.views, source.handlers, head, offset, source.excluded);
    if (block === null || (block.steps.length === 0 && block.end !== 'fall-through')) return;
    if (this.instructions + block.count > MOST_INSTRUCTIONS) return;
    this.instructions += block.count;
    this.found.set(head, block);
    const returning = returnPoint(source, block);
    if (returning !== 0 && this.hasHead(returning)) this.visit(returning, block.returnsTo, false);
    // The way that is visited last comes right behind the block: that of no jump.
    for (const edge of [block.taken, block.next]) {
      if (edge === null) continue;
      const target = linkedHead(source.views, block, edge);
      if (target !== 0 && this.hasHead(target)) this.visit(target, edge.target, false);
    }
    this.order.push(block);
  }

  private hasHead(record: number): boolean {
    const slot = this.source.views.i32[record >>> 2]!;
    return slot === Slot.HEAD || slot === Slot.PASS || (slot >= Slot.FIRST_FREE && this.source.handlers.keyOf(slot) === undefined);
  }
}

/** Chooses the region of a hot block; null when nothing of it can be compiled. */
export function selectRegion(source: RegionSource, head: number, offset: number): Region | null {
  const blocks = new Explorer(source).from(head, offset);
  if (blocks.length === 0) return null;
  const places = new Map(blocks.map((block, place) => [block.head, place]));
  const entries = new Set([0]);
  const returns = new Set<number>();
  for (const [place, block] of blocks.entries()) {
    if (source.isEntry(block.head)) entries.add(place);
    const back = places.get(returnPoint(source, block));
    if (back !== undefined) {
      entries.add(back);
      if (block.taken !== null && places.has(linkedHead(source.views, block, block.taken))) returns.add(back);
    }
    for (const edge of [block.taken, block.next]) {
      const target = edge && places.get(linkedHead(source.views, block, edge));
      if (target !== undefined && target !== null && target <= place) entries.add(target);
    }
  }
  const instructions = blocks.reduce((sum, block) => sum + block.count, 0);
  return { blocks, places, entries: [...entries].sort((a, b) => a - b), returns: [...returns], instructions };
}

/** Edges of the region that lead to each of its blocks; being an entry counts as two. */
export function countPredecessors(views: ArenaViews, region: Region): number[] {
  const counts = region.blocks.map(() => 0);
  for (const entry of region.entries) counts[entry]! += 2;
  for (const block of region.blocks) {
    for (const edge of [block.taken, block.next]) {
      const target = edge && region.places.get(linkedHead(views, block, edge));
      if (target !== undefined && target !== null) counts[target]!++;
    }
  }
  return counts;
}

/** Number of turns that the head of a block that is not compiled still has to go. */
export const countdown = (views: ArenaViews, head: number): number => views.i32[(head + Record.COUNTDOWN) >>> 2]!;
