/** Words of an entry: arena offset, the complement of the mode (0: the entry is free), first record, unused. */
const ENTRY = 4;
/** Two megabytes, enough for what a kernel's boot executes: to grow is to touch twice as much memory, and a first touch is dear. */
const FIRST_ENTRIES = 1 << 17;
const HASH = 0x9e3779b1;

/** Where the blocks of all pages begin, by arena offset and mode. What is put in stays until all goes: whoever asks looks whether the block is still good. */
export class BlockTable {
  private table = new Int32Array(FIRST_ENTRIES * ENTRY);
  private mask = (FIRST_ENTRIES - 1) * ENTRY;
  private count = 0;

  /** First record of the block that was put in last, or 0. */
  get(arenaOffset: number, mode: number): number {
    return this.table[this.placeOf(arenaOffset | 0, ~mode) + 2]!;
  }

  set(arenaOffset: number, mode: number, record: number): void {
    let at = this.placeOf(arenaOffset | 0, ~mode);
    if (this.table[at + 1] === 0 && ++this.count * ENTRY * 4 > this.table.length * 3) {
      this.grow();
      at = this.placeOf(arenaOffset | 0, ~mode);
    }
    this.put(at, arenaOffset, ~mode, record);
  }

  clear(): void {
    this.table.fill(0);
    this.count = 0;
  }

  /** The entry of a block, or the free one that it would have. */
  private placeOf(arenaOffset: number, mark: number): number {
    const { table, mask } = this;
    let at = (Math.imul(arenaOffset ^ Math.imul(mark, 0x85ebca6b), HASH) >>> 10) & mask;
    while (table[at + 1] !== 0 && (table[at] !== arenaOffset || table[at + 1] !== mark)) at = (at + ENTRY) & mask;
    return at;
  }

  private put(at: number, arenaOffset: number, mark: number, record: number): void {
    const { table } = this;
    table[at] = arenaOffset;
    table[at + 1] = mark;
    table[at + 2] = record;
  }

  private grow(): void {
    const old = this.table;
    this.table = new Int32Array(2 * old.length);
    this.mask = this.table.length - ENTRY;
    for (let at = 0; at < old.length; at += ENTRY) {
      if (old[at + 1] !== 0) this.put(this.placeOf(old[at]!, old[at + 1]!), old[at]!, old[at + 1]!, old[at + 2]!);
    }
  }
}
