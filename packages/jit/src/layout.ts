import type { Branch, Code, Val, Variable } from '@nestvm/emit';
import { pageOf, type Region } from './region.js';
import { type Piece, placesOf } from './shape.js';
import { slotOf, spread } from './spread.js';

/** Places that a value is compared with one by one. */
const MOST_COMPARED = 3;
const PAGE_BYTES = 4096;

const hasSideEntries = (piece: Piece): boolean => piece.kind === 'loop' && (piece.entries.length > 0 || piece.pieces.some(hasSideEntries));

/**
 * The blocks of a region as structured code. Pieces stand behind one another: a jump forward leaves the Wasm blocks between, one backward goes round its loop. Where a
 * loop is entered at several blocks, as the region is from outside, a table at its start leads to the one that `entry` says.
 */
export class Layout {
  /** Which of the region's entries is wanted, or -1. */
  private readonly entry: Variable<32>;
  /** The pieces around each block, outermost first, and how to get to their starts. */
  private readonly paths: Piece[][];
  private readonly labels = new Map<Piece, Branch>();
  private readonly loops = new Map<number, { readonly piece: Piece; readonly again: Branch }>();

  constructor(
    private readonly code: Code,
    private readonly region: Region,
    private readonly writeBlock: (place: number) => void,
  ) {
    this.entry = code.declare(32);
    this.paths = region.blocks.map(() => []);
  }

  /** Writes all blocks; `entered` gives the number of the entry. */
  write(entered: () => Val<32>): void {
    const { pieces, entries } = this.region;
    const isPlain = entries.length === 1 && entries[0] === 0;
    if (!isPlain) this.entry.set(entered());
    this.writePieces(pieces, isPlain ? [] : entries);
  }

  /** Pieces behind one another, entered at the first of them or, as `entry` says, at one of the blocks `entries`. */
  private writePieces(pieces: readonly Piece[], entries: readonly number[]): void {
    for (const piece of pieces) for (const place of placesOf([piece])) this.paths[place]!.push(piece);
    this.nest(pieces, pieces.length - 1, entries);
  }

  /** Piece number `last` behind those before it. */
  private nest(pieces: readonly Piece[], last: number, entries: readonly number[]): void {
    const { code } = this;
    const piece = pieces[last];
    if (piece === undefined) return this.dispatch(pieces, entries);
    code.block((leave) => {
      this.labels.set(piece, leave);
      this.nest(pieces, last - 1, entries);
    });
    if (piece.kind === 'block') return this.writeBlock(piece.place);
    code.loop((again) => {
      this.loops.set(piece.header, { piece, again });
      this.writePieces(piece.pieces, piece.entries);
    });
  }

  /** Goes to the piece of the block that `entry` says; to the first one for all others. */
  private dispatch(pieces: readonly Piece[], entries: readonly number[]): void {
    const [lowest] = entries;
    if (lowest === undefined) return;
    const { code, labels, region } = this;
    const pieceOf = (place: number): Piece => pieces.find((piece) => this.paths[place]!.includes(piece)) as Piece;
    const first = region.entries.indexOf(lowest);
    const index = first === 0 ? this.entry.get() : this.entry.get().sub(first);
    code.branchTable(
      index,
      [...entries.map(pieceOf), pieces[0]!].map((piece) => labels.get(piece) as Branch),
    );
  }

  /** Goes to a block further on. */
  forward(here: number, target: number): void {
    const around = this.paths[here]!;
    const piece = this.paths[target]!.find((each, level) => each !== around[level]) as Piece;
    this.choose(piece, target);
    this.labels.get(piece)!();
  }

  /** Goes round the loop that a block is the header of. */
  backward(target: number): void {
    const { piece, again } = this.loops.get(target)!;
    this.choose(piece, target);
    again();
  }

  /** Says at which block a loop, or one inside of it, is entered. */
  private choose(piece: Piece, target: number): void {
    if (piece.kind === 'block' || !hasSideEntries(piece)) return;
    this.entry.set(this.code.constant(32, piece.header === target ? -1 : this.region.entries.indexOf(target)));
  }

  /** Goes to one of the blocks `targets` if `offset` is its offset from the region's page; each time `goTo` leaves. */
  select(offset: Val<64>, targets: readonly number[], goTo: (place: number) => void): void {
    const { code } = this;
    const offsetOf = (place: number): number => this.region.blocks[place]!.offset;
    const isHere = (place: number): boolean => pageOf(offsetOf(place)) === 0;
    if (targets.length > MOST_COMPARED && !targets.every(isHere)) {
      this.select(offset, targets.filter(isHere), goTo);
      return this.select(offset, targets.filter((place) => !isHere(place)).slice(0, MOST_COMPARED), goTo);
    }
    if (targets.length <= MOST_COMPARED) {
      for (const place of targets) code.if(offset.eq(offsetOf(place)), () => goTo(place));
      return;
    }
    const form = spread(targets.map(offsetOf));
    const slots = new Map(targets.map((place) => [slotOf(offsetOf(place), form), place]));
    const low = offset.trunc(32);
    const index = low
      .mul(form.factor)
      .shrU(form.shift)
      .and((1 << form.bits) - 1);
    code.block((unknown) => {
      unknown(offset.geU(PAGE_BYTES));
      const write = (slot: number, labels: readonly Branch[]): void => {
        if (slot < 0) return code.branchTable(index, labels);
        const place = slots.get(slot);
        if (place === undefined) return write(slot - 1, [unknown, ...labels]);
        code.block((mine) => write(slot - 1, [mine, ...labels]));
        unknown(low.ne(offsetOf(place)));
        goTo(place);
      };
      write((1 << form.bits) - 1, [unknown]);
    });
  }
}
