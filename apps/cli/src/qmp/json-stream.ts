/** Longest message that is taken, in characters. */
const LONGEST = 1 << 24;
/** Deepest nesting that is taken, as in QEMU; `JSON.stringify` of an `id` that is much deeper would run out of stack. */
const DEEPEST = 1024;
const FLUSH = 0xff;

/** What a piece of the stream was: a value, or the reason why it is none. */
export type JsonItem = { readonly value: unknown } | { readonly error: string };

/**
 * Cuts a stream of bytes into JSON values. QMP separates messages by nothing in particular: an object ends with its last bracket. What is no JSON is skipped
 * up to the end of its line; the byte 0xff drops what came before, as QEMU has it.
 */
export class JsonStream {
  private pending: number[] = [];
  private depth = 0;
  /** The deepest of what is pending. */
  private deepest = 0;
  private inString = false;
  private escaped = false;
  private readonly decoder = new TextDecoder();

  /** Values that `bytes` complete, in order. */
  *push(bytes: Uint8Array): Generator<JsonItem> {
    for (const byte of bytes) {
      if (byte === FLUSH) {
        this.clear();
        continue;
      }
      const blank = byte === 0x20 || byte === 0x0a || byte === 0x0d || byte === 0x09;
      if (this.pending.length === 0 && blank) continue;
      this.pending.push(byte);
      if (this.pending.length > LONGEST) {
        this.clear();
        yield { error: `a message longer than ${LONGEST} bytes` };
      } else if (this.ends(byte)) yield this.take();
    }
  }

  /** Follows the nesting; true when the byte ends a value, or a line that is none. */
  private ends(byte: number): boolean {
    if (this.inString) {
      if (this.escaped) this.escaped = false;
      else if (byte === 0x5c) this.escaped = true;
      else if (byte === 0x22) this.inString = false;
      return false;
    }
    if (byte === 0x22) this.inString = true;
    else if (byte === 0x7b || byte === 0x5b) this.deepest = Math.max(this.deepest, ++this.depth);
    else if (byte === 0x7d || byte === 0x5d) return --this.depth <= 0;
    return this.depth === 0 && byte === 0x0a;
  }

  private take(): JsonItem {
    const text = this.decoder.decode(Uint8Array.from(this.pending));
    const { deepest } = this;
    this.clear();
    if (deepest > DEEPEST) return { error: `a message nested deeper than ${DEEPEST}` };
    try {
      return { value: JSON.parse(text) as unknown };
    } catch (error) {
      return { error: error instanceof Error ? error.message : String(error) };
    }
  }

  private clear(): void {
    this.pending = [];
    this.depth = this.deepest = 0;
    this.inString = this.escaped = false;
  }
}
