import { type Handlers, Record, Slot } from '@nestvm/cpu/compiling';
import type { ArenaViews } from './arena-views.js';
import { type Block, type Edge, isReturn, readBlock } from './block.js';
import type { Target } from './exit-log.js';
import { headAt, headOfLink } from './heat.js';
import { annotate, headersOf, type Piece, placesOf, renumber, shapeOf, sideEntriesOf } from './shape.js';

/** Bounds of a region. */
const MOST_BLOCKS = 64;
const MOST_INSTRUCTIONS = 600;
/** Places that an indirect jump, or a return, is looked up among. */
const MOST_TARGETS = 32;
/** How many pages away others may be. */
const FARTHEST_PAGE = 2 ** 36;
/** Instructions of other pages: a function that many call is compiled with each of them. */
const MOST_ELSEWHERE = 160;
const PAGE_BYTES = 4096;

/** Blocks that are compiled together, in the order of their code: of one page, and where that leads to. */
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
  /** Head of the block that each block's call returns to, if that is on its page; or 0. */
  readonly returnHeads: readonly number[];
  /** The blocks as structured code. */
  readonly pieces: readonly Piece[];
  /** Arena pages that the blocks are in. */
  readonly pages: readonly number[];
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
  /** Head of the block at an arena offset, or 0. */
  readonly blockAt: (host: number) => number;
  /** Whether the block of another page that a link leads to is to be included, by the link's address and the block's head. */
  readonly isFollowed: (link: number, head: number) => boolean;
  /** Whether a block has been entered from outside before. */
  readonly isEntry: (head: number) => boolean;
  /** Where an indirect jump was seen to lead to, by its record. */
  readonly targetsOf: (record: number) => readonly Target[];
  /** Heads of blocks of the same page that were seen to jump to an arena offset so. */
  readonly jumpersTo: (host: number) => readonly number[];
}

/** Arena offset of a block's first byte. */
export const hostOf = (views: ArenaViews, head: number): number => views.i32[(head + Record.HOST) >>> 2]! >>> 0;

/** Number of an offset's page, from the region's. */
export const pageOf = (offset: number): number => Math.floor(offset / PAGE_BYTES);

/** Head of the block that an edge is linked to, or that a jump to another page led to last; or 0. */
export function linkedHead(views: ArenaViews, block: Block, edge: Edge): number {
  const { i32 } = views;
  if (edge.isInside) return headOfLink(views, i32[(block.last + edge.link) >>> 2]!);
  const target = i32[(block.last + Record.FAR_RECORD) >>> 2]!;
  const host = i32[(block.last + Record.FAR_HOST) >>> 2]! >>> 0;
  if (target === 0 || ((host ^ edge.target) & (PAGE_BYTES - 1)) !== 0) return 0;
  // It may have gone since.
  return i32[target >>> 2] !== Slot.STALE && hostOf(views, target) === host ? target : 0;
}

/** Head of the block that a call returns to, if that is on its page; or 0. */
function returnPoint({ views, blockAt }: RegionSource, { head, offset, returnsTo }: Block): number {
  if (returnsTo === null || pageOf(returnsTo) !== pageOf(offset)) return 0;
  return blockAt(hostOf(views, head) + returnsTo - offset);
}

const isIndirect = (block: Block): boolean => block.end === 'jump' && block.taken === null;

/** Blocks that the indirect jump of a block was seen to go to. */
function seenTargets(source: RegionSource, block: Block): { head: number; offset: number }[] {
  if (!isIndirect(block)) return [];
  const page = pageOf(block.offset) * PAGE_BYTES;
  return source
    .targetsOf(block.last)
    .map(({ host, delta }) => ({ head: source.blockAt(host), offset: page + delta }))
    .filter(({ offset }) => Math.abs(pageOf(offset)) <= FARTHEST_PAGE);
}

class Explorer {
  private readonly found = new Map<number, Block>();
  private readonly order: Block[] = [];
  private instructions = 0;
  private elsewhere = 0;

  constructor(private readonly source: RegionSource) {}

  /** Reverse postorder from a block, and from those that were seen to jump to it. */
  from(head: number, offset: number): Block[] {
    const { views, jumpersTo, blockAt } = this.source;
    this.visit(head, offset, true);
    // Without the hot block itself, what jumps to it would be compiled again and again.
    if (!this.found.has(head)) return [];
    for (const jumper of jumpersTo(hostOf(views, head))) {
      const host = hostOf(views, jumper);
      // It may have gone, or be of another mode.
      if (blockAt(host) === jumper) this.visit(jumper, host % PAGE_BYTES);
    }
    return this.order.reverse();
  }

  private visit(head: number, offset: number, isFirst = false): void {
    const { source } = this;
    if (head === 0 || this.found.has(head) || this.found.size >= MOST_BLOCKS || !this.hasHead(head)) return;
    if (!isFirst && !source.isWarm(head)) return;
    const block = readBlock(source.views, source.handlers, head, offset, source.excluded);
    if (block === null || (block.steps.length === 0 && block.end !== 'fall-through')) return;
    const elsewhere = this.elsewhere + (pageOf(offset) === 0 ? 0 : block.count);
    if (this.instructions + block.count > MOST_INSTRUCTIONS || elsewhere > MOST_ELSEWHERE) return;
    this.instructions += block.count;
    this.elsewhere = elsewhere;
    this.found.set(head, block);
    if (block.returnsTo !== null) this.visit(returnPoint(source, block), block.returnsTo);
    for (const target of seenTargets(source, block)) this.visit(target.head, target.offset);
    // The way that is visited last comes right behind the block: that of no jump.
    for (const edge of [block.taken, block.next]) if (edge !== null) this.follow(block, edge);
    this.order.push(block);
  }

  private follow(block: Block, edge: Edge): void {
    const head = linkedHead(this.source.views, block, edge);
    if (!edge.isInside && !(this.source.isFollowed(block.last + edge.link, head) && Math.abs(pageOf(edge.target)) <= FARTHEST_PAGE)) return;
    this.visit(head, edge.target);
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
    if (block.returnsTo === null) return false;
    return block.taken === null ? this.seen(block).length > 0 : this.direct(block, block.taken).length > 0;
  }

  private direct(block: Block, edge: Edge | null): number[] {
    return edge === null ? [] : this.placeOf(linkedHead(this.source.views, block, edge));
  }

  private seen(block: Block): number[] {
    return seenTargets(this.source, block).flatMap(({ head }) => this.placeOf(head));
  }

  /** Where the indirect jump of a block leads to, as far as that is in the region. */
  targets(block: Block): number[] {
    if (!isIndirect(block)) return [];
    return [...new Set([...(isReturn(block) ? this.returns : []), ...this.seen(block)])].slice(0, MOST_TARGETS);
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
    returnHeads: order.map((old) => headAt(source.views, returnPoint(source, found[old] as Block))),
    pieces: renumber(pieces, moved),
    instructions: found.reduce((sum, block) => sum + block.count, 0),
  };
  const pages = new Set(region.blocks.map((block) => pageOf(hostOf(source.views, block.head))));
  return { ...region, pages: [...pages], places: new Map(region.blocks.map((block, at) => [block.head, at])) };
}

/** Ways in the region that lead to each of its blocks; being an entry counts as two. */
export function countPredecessors(region: Region): number[] {
  const counts = region.blocks.map(() => 0);
  for (const entry of region.entries) counts[entry]! += 2;
  for (const successors of region.successors) for (const target of successors) counts[target]!++;
  return counts;
}
