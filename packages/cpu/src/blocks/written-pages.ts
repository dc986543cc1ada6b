import type { Arena } from '@nestvm/memory';

/** log2 of the granularity in which writes beside code are told from writes to it. */
export const LINE_BITS = 4;
/** Words in which a page has a bit for each line. */
export const LINE_WORDS = 4096 >>> (LINE_BITS + 5);

/** log2 of the bytes of an entry, and how many there are: a page has the one that its number's lowest bits say. */
export const WRITTEN_PAGE_BITS = 6;
export const WRITTEN_PAGES = 64;

/**
 * Byte offsets in an entry. `PAGE`: the arena page, 0 for none. `LEFT`: writes until TypeScript wants to hear of one. `LINES`: bits of the lines that hold decoded bytes, with room behind them
 * for a load of eight bytes from each.
 */
export const WrittenPage = { PAGE: 0, LEFT: 4, LINES: 8 } as const;

/** Pages of code that were written to lately: what generated code must know to write beside their code without a word. */
export class WrittenPages {
  /** Arena offset of the entries. */
  readonly offset: number;
  private readonly i32: Int32Array;

  constructor(arena: Arena) {
    this.offset = arena.allocate('written pages of code', WRITTEN_PAGES << WRITTEN_PAGE_BITS, 64);
    this.i32 = arena.i32;
  }

  private entry(arenaPage: number): number {
    return this.offset + ((arenaPage & (WRITTEN_PAGES - 1)) << WRITTEN_PAGE_BITS);
  }

  /** Whether a page is among them. */
  holds(arenaPage: number): boolean {
    return this.i32[this.entry(arenaPage) >>> 2] === arenaPage;
  }

  /** Writes that generated code may still do to a page that is among them. */
  left(arenaPage: number): number {
    return this.i32[(this.entry(arenaPage) + WrittenPage.LEFT) >>> 2]!;
  }

  /** Lets generated code write so often to the lines of a page that are not `covered`. */
  put(arenaPage: number, covered: Int32Array, left: number): void {
    const { i32 } = this;
    const entry = this.entry(arenaPage) >>> 2;
    i32[entry] = arenaPage;
    i32[entry + WrittenPage.LEFT / 4] = left;
    for (let word = 0; word < LINE_WORDS; word++) i32[entry + WrittenPage.LINES / 4 + word] = covered[word]!;
  }

  /** A page has no code any more. */
  drop(arenaPage: number): void {
    if (this.holds(arenaPage)) this.i32[this.entry(arenaPage) >>> 2] = 0;
  }

  /** No page has. */
  clear(): void {
    this.i32.fill(0, this.offset >>> 2, (this.offset + (WRITTEN_PAGES << WRITTEN_PAGE_BITS)) >>> 2);
  }
}
