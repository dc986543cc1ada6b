import { type Handlers, Record, Slot } from '@nestvm/cpu/compiling';
import type { ArenaViews } from './arena-views.js';
import { type Block, type Edge, readBlock } from './block.js';
import { annotate, headersOf, type Piece, placesOf, renumber, shapeOf, sideEntriesOf } from './shape.js';

/** Bounds of a region. */
const MOST_BLOCKS = 64;
const MOST_INSTRUCTIONS = 600;
/** Places that an indirect jump, or a return, is looked up among. */
const MOST_TARGETS = 32;
const PAGE_BYTES = 4096;

/** Blocks of one page that are compiled together, in the order of their code. */
export interface Region {
  readonly blocks: readonly Block[];
  /** Place of a block in `blocks` by its head. */
  readonly places: ReadonlyMap<number, number>;
  /** Places of the blocks that are entered from outside, by indirect jumps or by jumps backward; ascending. */
  readonly entries: readonly number[];
  /** Places that each block may lead to; those of an indirect jump are some of all. */
  readonly successors: readonly (readonly number[])[];
  /** Places that each block's indirect jump was seen to go to, or may return to. */
  readonly targets: readonly (readonly number[])[];
  /** The blocks as structured code. */
  readonly pieces: readonly Piece[];
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
  /** Offsets in its page that an indirect jump was seen to lead to, by its record. */
  readonly targetsOf: (record: number) => readonly number[];
  /** Heads of blocks that were seen to jump to an offset in the page so. */
  readonly jumpersTo: (offset: number) => readonly number[];
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

const isIndirect = (block: Block): boolean => block.end === 'jump' && block.taken === null;

class Explorer {
  private readonly found = new Map<number, Block>();
  private readonly order: Block[] = [];
  private instructions = 0;

  constructor(private readonly source: RegionSource) {}

  /** Reverse postorder from a block, and from those that were seen to jump to it. */
  from(head: number, offset: number): Block[] {
    const { views, jumpersTo } = this.source;
    this.visit(head, offset, true);
    for (const jumper of jumpersTo(offset)) {
      const there = views.i32[(jumper + Record.HOST) >>> 2]! & (PAGE_BYTES - 1);
      // It may have gone, or be of another mode.
      if (this.source.blockAt(there) === jumper) this.visit(jumper, there);
    }
    return this.order.reverse();
  }

  private visit(head: number, offset: number, isFirst = false): void {
    const { source } = this;
    if (head === 0 || this.found.has(head) || this.found.size >= MOST_BLOCKS || !this.hasHead(head)) return;
    if (!isFirst && !source.isWarm(head)) return;
    const block = readBlock(source.views, source.handlers, head, offset, source.excluded);
    if (block === null || (block.steps.length === 0 && block.end !== 'fall-through')) return;
    if (this.instructions + block.count > MOST_INSTRUCTIONS) return;
    this.instructions += block.count;
    this.found.set(head, block);
    this.visit(returnPoint(source, block), block.returnsTo);
    if (isIndirect(block)) for (const target of source.targetsOf(block.last)) this.visit(source.blockAt(target), target);
    // The way that is visited last comes right behind the block: that of no jump.
    for (const edge of [block.taken, block.next]) if (edge !== null) this.visit(linkedHead(source.views, block, edge), edge.target);
    this.order.push(block);
  }

  private hasHead(record: number): boolean {
    const slot = this.source.views.i32[record >>> 2]!;
    return slot === Slot.HEAD || slot === Slot.PASS || (slot >= Slot.FIRST_FREE && this.source.handlers.keyOf(slot) === undefined);
  }
}

/** The ways between the blocks of a region. */
class Ways {
  private readonly places: ReadonlyMap<number, number>;
  /** Places that calls inside of the region return to. */
  private readonly returns: readonly number[];

  constructor(
    private readonly source: RegionSource,
    private readonly blocks: readonly Block[],
  ) {
    this.places = new Map(blocks.map((block, place) => [block.head, place]));
    this.returns = blocks.flatMap((block) => (this.isCalledInside(block) ? this.placeOf(returnPoint(source, block)) : []));
  }

  private placeOf(head: number): number[] {
    const place = this.places.get(head);
    return place === undefined ? [] : [place];
  }

  private isCalledInside(block: Block): boolean {
    if (block.returnsTo < 0) return false;
    return block.taken === null ? this.seen(block).length > 0 : this.direct(block, block.taken).length > 0;
  }

  private direct(block: Block, edge: Edge | null): number[] {
    return edge === null ? [] : this.placeOf(linkedHead(this.source.views, block, edge));
  }

  private seen(block: Block): number[] {
    return this.source.targetsOf(block.last).flatMap((offset) => this.placeOf(this.source.blockAt(offset)));
  }

  /** Where the indirect jump of a block leads to, as far as that is in the region. */
  targets(block: Block): number[] {
    if (!isIndirect(block)) return [];
    const isReturn = block.steps[block.steps.length - 1]!.facts.row.mnemonic === 'RET';
    return [...new Set([...(isReturn ? this.returns : []), ...this.seen(block)])].slice(0, MOST_TARGETS);
  }

  /** Where the direct ways out of a block lead to; the last one comes best right behind it. */
  directs(block: Block): number[] {
    return [...this.direct(block, block.taken), ...this.direct(block, block.next)];
  }

  /** Places that are entered from outside, or by jumps to where their registers say. */
  entries(hot: number): Set<number> {
    const entries = new Set(this.placeOf(hot));
    for (const [place, block] of this.blocks.entries()) {
      if (this.source.isEntry(block.head)) entries.add(place);
      for (const back of this.placeOf(returnPoint(this.source, block))) entries.add(back);
      for (const target of this.targets(block)) entries.add(target);
    }
    return entries;
  }
}

/** Chooses the region of a hot block; null when nothing of it can be compiled. */
export function selectRegion(source: RegionSource, head: number, offset: number): Region | null {
  const found = new Explorer(source).from(head, offset);
  if (found.length === 0) return null;
  const ways = new Ways(source, found);
  const targets = found.map((block) => ways.targets(block));
  const successors = found.map((block, place) => [...(targets[place] as number[]), ...ways.directs(block)]);
  const entered = ways.entries(head);
  const shape = shapeOf({ successors, isEntry: (place) => entered.has(place), addresses: found.map((block) => block.offset) });
  for (const block of [...headersOf(shape), ...sideEntriesOf(annotate(shape, successors, entered))]) entered.add(block);
  const pieces = annotate(shape, successors, entered);
  // Blocks get the order of the code.
  const order = placesOf(pieces);
  const place = new Map(order.map((old, now) => [old, now]));
  const moved = (old: number): number => place.get(old) as number;
  const movedAll = (lists: readonly (readonly number[])[]): number[][] => order.map((old) => (lists[old] as number[]).map(moved));
  const region = {
    blocks: order.map((old) => found[old] as Block),
    entries: [...entered].map(moved).sort((a, b) => a - b),
    successors: movedAll(successors),
    targets: movedAll(targets),
    pieces: renumber(pieces, moved),
    instructions: found.reduce((sum, block) => sum + block.count, 0),
  };
  return { ...region, places: new Map(region.blocks.map((block, at) => [block.head, at])) };
}

/** Ways in the region that lead to each of its blocks; being an entry counts as two. */
export function countPredecessors(region: Region): number[] {
  const counts = region.blocks.map(() => 0);
  for (const entry of region.entries) counts[entry]! += 2;
  for (const successors of region.successors) for (const target of successors) counts[target]!++;
  return counts;
}

/** Number of turns that the head of a block that is not compiled still has to go. */
export const countdown = (views: ArenaViews, head: number): number => views.i32[(head + Record.COUNTDOWN) >>> 2]!;
