/** Is given bytes of a buffer, and how many came before them. */
type Visitor = (bytes: Uint8Array, done: number) => void;

/** A request and the room for its answer: a chain of a virtqueue, or `BytesExchange`. Offsets count from the start of either part. */
export interface Exchange {
  readonly readableBytes: number;
  readonly writableBytes: number;
  /** Copies bytes of the request into `target`; returns how many there were. */
  read(offset: number, target: Uint8Array): number;
  /** Copies `source` into the answer; returns how many bytes fitted. */
  write(offset: number, source: Uint8Array): number;
  /** Shows bytes of the request in pieces. */
  visitReadable(offset: number, length: number, visit: Visitor): number;
  /** Hands out bytes of the answer in pieces, to be filled at once. */
  visitWritable(offset: number, length: number, visit: Visitor): number;
}

/** An exchange in plain arrays, for transports that have whole messages. */
export class BytesExchange implements Exchange {
  private readonly reply: Uint8Array;
  private used = 0;

  constructor(
    private readonly request: Uint8Array,
    /** Room for the answer. */
    readonly writableBytes: number,
  ) {
    this.reply = new Uint8Array(writableBytes);
  }

  get readableBytes(): number {
    return this.request.length;
  }

  /** The answer, as far as it was written. */
  get answer(): Uint8Array {
    return this.reply.subarray(0, this.used);
  }

  read(offset: number, target: Uint8Array): number {
    return this.visitReadable(offset, target.length, (bytes) => target.set(bytes));
  }

  write(offset: number, source: Uint8Array): number {
    return this.visitWritable(offset, source.length, (bytes) => bytes.set(source.subarray(0, bytes.length)));
  }

  visitReadable(offset: number, length: number, visit: Visitor): number {
    const bytes = this.request.subarray(offset, offset + length);
    visit(bytes, 0);
    return bytes.length;
  }

  visitWritable(offset: number, length: number, visit: Visitor): number {
    const bytes = this.reply.subarray(offset, offset + length);
    this.used = Math.max(this.used, offset + bytes.length);
    visit(bytes, 0);
    return bytes.length;
  }
}
