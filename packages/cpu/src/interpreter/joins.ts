/** Slots of handlers are below this. */
const SLOTS = 65536;
const HASH = 0x9e3779b1;

/** Which slot carries out what two others do, one after the other: asked for each pair of instructions that is decoded. */
export class Joins {
  /** Open addressing: first and second slot in one word (0 for a free place), then the slot of both. */
  private table = new Int32Array(2 * 4096);
  private count = 0;
  /** Whether a slot is the first of any pair: of most instructions it is not. */
  private readonly isFirst = new Uint8Array(SLOTS);

  /** Says that a slot carries out what two others do; the first of them is not 0. */
  add(first: number, second: number, both: number): void {
    if (2 * ++this.count > this.table.length / 2) this.grow();
    this.isFirst[first] = 1;
    this.put((first << 16) | second, both);
  }

  /** The slot that carries out what two do, 0 where there is none. */
  of(first: number, second: number): number {
    if (this.isFirst[first] === 0) return 0;
    const { table } = this;
    const pair = (first << 16) | second;
    for (let at = this.placeOf(pair); table[at] !== 0; at = this.after(at)) if (table[at] === pair) return table[at + 1]!;
    return 0;
  }

  private placeOf(pair: number): number {
    return (Math.imul(pair, HASH) >>> 8) & (this.table.length - 2);
  }

  private after(at: number): number {
    return (at + 2) & (this.table.length - 2);
  }

  private put(pair: number, both: number): void {
    const { table } = this;
    let at = this.placeOf(pair);
    while (table[at] !== 0 && table[at] !== pair) at = this.after(at);
    table[at] = pair;
    table[at + 1] = both;
  }

  private grow(): void {
    const old = this.table;
    this.table = new Int32Array(2 * old.length);
    for (let at = 0; at < old.length; at += 2) if (old[at] !== 0) this.put(old[at]!, old[at + 1]!);
  }
}
