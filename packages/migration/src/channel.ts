import { MigrationError } from './errors.js';

/** Where a snapshot goes: a file, a socket, an array. `write` resolves when more may follow; the bytes are not kept by reference after that. */
export interface ByteSink {
  write(bytes: Uint8Array): Promise<void>;
}

/** Where a snapshot comes from. Resolves to at most `length` bytes, to fewer where they come in pieces, and to none at the end. */
export interface ByteSource {
  read(length: number): Promise<Uint8Array>;
  /** The same into an array of the caller's, for sources that need none of their own: how many bytes came, at once when they were there already. */
  readInto?(target: Uint8Array): Promise<number> | number;
}

/** A sink that keeps what it gets. */
export function createMemorySink(): ByteSink & { bytes(): Uint8Array } {
  const chunks: Uint8Array[] = [];
  return {
    write(bytes) {
      chunks.push(bytes.slice());
      return Promise.resolve();
    },
    bytes() {
      const all = new Uint8Array(chunks.reduce((sum, chunk) => sum + chunk.length, 0));
      let at = 0;
      for (const chunk of chunks) {
        all.set(chunk, at);
        at += chunk.length;
      }
      return all;
    },
  };
}

/** A source that reads an array. */
export function createMemorySource(bytes: Uint8Array): ByteSource {
  let at = 0;
  return {
    read(length) {
      const piece = bytes.subarray(at, at + length);
      at += piece.length;
      return Promise.resolve(piece);
    },
  };
}

/** Memory for so much is made before it has come. */
const SHORT_BYTES = 4096;

/** Reads exact lengths and counts bytes. */
export class ExactReader {
  /** Bytes read so far: the place of the next one. */
  offset = 0;

  constructor(private readonly source: ByteSource) {}

  /** Exactly `length` bytes; throws `truncated` when there are fewer. Never allocates much more than what has come. */
  async exactly(length: number, what: string): Promise<Uint8Array> {
    if (length <= SHORT_BYTES) return this.into(new Uint8Array(length), what);
    const first = await this.some(length, length, what);
    if (first.length === length) return first;
    const pieces = [first];
    let have = first.length;
    while (have < length) {
      const piece = await this.some(length - have, length, what);
      pieces.push(piece);
      have += piece.length;
    }
    const all = new Uint8Array(length);
    let at = 0;
    for (const piece of pieces) {
      all.set(piece, at);
      at += piece.length;
    }
    return all;
  }

  /** Fills `target`; throws `truncated` when there are fewer bytes. */
  async into(target: Uint8Array, what: string): Promise<Uint8Array> {
    for (let have = 0; have < target.length; ) {
      if (this.source.readInto) {
        const came = this.source.readInto(have === 0 ? target : target.subarray(have));
        have += this.count(typeof came === 'number' ? came : await came, target.length, what);
      } else {
        const piece = await this.some(target.length - have, target.length, what);
        target.set(piece, have);
        have += piece.length;
      }
    }
    return target;
  }

  private async some(length: number, wanted: number, what: string): Promise<Uint8Array> {
    if (length === 0) return new Uint8Array(0);
    const piece = await this.source.read(length);
    this.count(piece.length, wanted, what);
    return piece;
  }

  /** Bytes that have come, which are some unless the source has ended. */
  private count(came: number, wanted: number, what: string): number {
    if (came === 0)
      throw new MigrationError('truncated', `${what} ends at byte ${this.offset} where ${wanted} bytes were announced; the snapshot is incomplete`, {
        offset: this.offset,
      });
    this.offset += came;
    return came;
  }
}
