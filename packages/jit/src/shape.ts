/** A piece of structured code: one block, or a loop over pieces whose first is its header's. */
export type Piece = BlockPiece | LoopPiece;

/** One block, by its place in the region. */
export interface BlockPiece {
  readonly kind: 'block';
  readonly place: number;
}

/** Blocks that reach each other. */
export interface LoopPiece {
  readonly kind: 'loop';
  /** Where turns begin. */
  readonly header: number;
  readonly pieces: readonly Piece[];
  /** Other blocks of the loop that are reached from outside, in ascending order. */
  readonly entries: readonly number[];
}

/** A graph of blocks to be shaped, by number; small numbers are to come first. */
export interface Graph {
  readonly successors: readonly (readonly number[])[];
  /** Whether a block is reached from outside of the graph. */
  readonly isEntry: (block: number) => boolean;
  /** Where blocks lie in the guest's memory: of a loop that is entered in several places the lowest that is jumped back to is the header. */
  readonly addresses: readonly number[];
}

/** Strongly connected components of a part of the graph without some edges, in topological order (Tarjan's algorithm). */
class Components {
  private readonly index = new Map<number, number>();
  private readonly low = new Map<number, number>();
  private readonly stack: number[] = [];
  private readonly onStack = new Set<number>();
  private readonly found: number[][] = [];

  constructor(
    private readonly graph: Graph,
    private readonly members: ReadonlySet<number>,
    /** Block that edges do not lead to, or -1. */
    private readonly header: number,
  ) {}

  all(): number[][] {
    const roots = [...this.members].sort((a, b) => b - a).filter((block) => block !== this.header);
    if (this.header >= 0) roots.push(this.header);
    for (const root of roots) if (!this.index.has(root)) this.visit(root);
    return this.found.reverse();
  }

  private visit(block: number): void {
    const { index, low, stack, onStack } = this;
    const mine = index.size;
    index.set(block, mine);
    low.set(block, mine);
    stack.push(block);
    onStack.add(block);
    for (const next of this.graph.successors[block] as readonly number[]) {
      if (next === this.header || !this.members.has(next)) continue;
      if (!index.has(next)) this.visit(next);
      if (onStack.has(next)) low.set(block, Math.min(low.get(block) as number, low.get(next) as number));
    }
    if (low.get(block) !== mine) return;
    const component = stack.splice(stack.indexOf(block));
    for (const member of component) onStack.delete(member);
    this.found.push(component);
  }
}

class Shaper {
  private readonly predecessors: number[][];

  constructor(private readonly graph: Graph) {
    this.predecessors = graph.successors.map(() => []);
    for (const [block, successors] of graph.successors.entries()) for (const next of successors) this.predecessors[next]?.push(block);
  }

  shape(members: ReadonlySet<number>, header: number): Piece[] {
    return new Components(this.graph, members, header).all().map((component): Piece => {
      const [first] = component as [number];
      const isLoop = component.length > 1 || (first !== header && this.graph.successors[first]?.includes(first));
      return isLoop ? this.loop(new Set(component)) : { kind: 'block', place: first };
    });
  }

  private loop(members: ReadonlySet<number>): LoopPiece {
    const entries = [...members].filter((block) => this.isEntered(block, members));
    const header = entries.length === 1 ? (entries[0] as number) : this.headerOf(members);
    return { kind: 'loop', header, pieces: this.shape(members, header), entries: [] };
  }

  private isEntered(block: number, members: ReadonlySet<number>): boolean {
    return this.graph.isEntry(block) || (this.predecessors[block] as number[]).some((other) => !members.has(other));
  }

  /** The lowest block of a loop that is jumped back to. */
  private headerOf(members: ReadonlySet<number>): number {
    const { addresses } = this.graph;
    const at = (block: number): number => addresses[block] as number;
    const isTarget = (block: number): boolean => (this.predecessors[block] as number[]).some((other) => members.has(other) && at(other) >= at(block));
    // Blocks that reach each other in a circle cannot all lead upwards.
    return [...members].filter(isTarget).reduce((lowest, block) => (at(block) < at(lowest) ? block : lowest));
  }
}

/** Shapes all blocks of a graph into loops, nested as far as they go; which blocks loops are entered at is for `annotate` to say. */
export function shapeOf(graph: Graph): Piece[] {
  return new Shaper(graph).shape(new Set(graph.successors.keys()), -1);
}

/** The blocks of pieces, in order. */
export function placesOf(pieces: readonly Piece[]): number[] {
  return pieces.flatMap((piece) => (piece.kind === 'block' ? [piece.place] : placesOf(piece.pieces)));
}

/** The headers of all loops. */
export function headersOf(pieces: readonly Piece[]): number[] {
  return pieces.flatMap((piece) => (piece.kind === 'block' ? [] : [piece.header, ...headersOf(piece.pieces)]));
}

/** The blocks that loops are entered at, besides their headers. */
export function sideEntriesOf(pieces: readonly Piece[]): number[] {
  return pieces.flatMap((piece) => (piece.kind === 'block' ? [] : [...piece.entries, ...sideEntriesOf(piece.pieces)]));
}

/** The same pieces with other numbers for the blocks. */
export function renumber(pieces: readonly Piece[], number: (place: number) => number): Piece[] {
  return pieces.map((piece) =>
    piece.kind === 'block'
      ? { kind: 'block', place: number(piece.place) }
      : {
          kind: 'loop',
          header: number(piece.header),
          pieces: renumber(piece.pieces, number),
          entries: piece.entries.map(number).sort((a, b) => a - b),
        },
  );
}

/** The same pieces, their loops with the blocks that they are entered at: from outside of the graph, or by one of its ways. */
export function annotate(pieces: readonly Piece[], successors: readonly (readonly number[])[], isEntry: ReadonlySet<number>): Piece[] {
  return pieces.map((piece) => {
    if (piece.kind === 'block') return piece;
    const members = new Set(placesOf([piece]));
    const entered = new Set([...members].filter((block) => isEntry.has(block)));
    for (const [block, nexts] of successors.entries()) {
      if (!members.has(block)) for (const next of nexts) if (members.has(next)) entered.add(next);
    }
    entered.delete(piece.header);
    return { ...piece, pieces: annotate(piece.pieces, successors, isEntry), entries: [...entered].sort((a, b) => a - b) };
  });
}
