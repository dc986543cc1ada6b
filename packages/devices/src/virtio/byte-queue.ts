/** Bytes that wait for a reader, oldest first, up to a limit. */
export class ByteQueue {
  private readonly bytes: Uint8Array;
  private first = 0;
  private used = 0;

  constructor(readonly limit: number) {
    this.bytes = new Uint8Array(limit);
  }

  get length(): number {
    return this.used;
  }

  /** Appends as many bytes as there is room for; returns their number. */
  push(source: Uint8Array): number {
    const taken = Math.min(source.length, this.limit - this.used);
    const at = (this.first + this.used) % this.limit;
    const straight = Math.min(taken, this.limit - at);
    this.bytes.set(source.subarray(0, straight), at);
    this.bytes.set(source.subarray(straight, taken), 0);
    this.used += taken;
    return taken;
  }

  /** Hands the oldest bytes out in up to two pieces, at most `most` of them, and drops them. */
  take(most: number, visit: (bytes: Uint8Array, done: number) => void): number {
    const taken = Math.min(most, this.used);
    const straight = Math.min(taken, this.limit - this.first);
    if (straight > 0) visit(this.bytes.subarray(this.first, this.first + straight), 0);
    if (taken > straight) visit(this.bytes.subarray(0, taken - straight), straight);
    this.first = (this.first + taken) % this.limit;
    this.used -= taken;
    return taken;
  }

  clear(): void {
    this.first = this.used = 0;
  }

  /** All bytes, which stay. */
  contents(): number[] {
    return Array.from({ length: this.used }, (_, i) => this.bytes[(this.first + i) % this.limit]!);
  }
}
