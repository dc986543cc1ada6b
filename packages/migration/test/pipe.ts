import type { Link } from '../src/index.js';

/** One direction: bytes go in pieces, and the line may be cut after some of them. */
class Pipe {
  private readonly chunks: Uint8Array[] = [];
  private waiting: (() => void) | undefined;
  private ended = false;
  sent = 0;

  constructor(
    private readonly cutAfter: number,
    private readonly onCut: () => void,
  ) {}

  write(bytes: Uint8Array): Promise<void> {
    if (this.ended) return Promise.reject(new Error('connection reset'));
    const room = Math.max(0, Math.min(bytes.length, this.cutAfter - this.sent));
    this.sent += bytes.length;
    if (room > 0) this.chunks.push(bytes.slice(0, room));
    if (room < bytes.length) this.onCut();
    this.waiting?.();
    return Promise.resolve();
  }

  async read(length: number): Promise<Uint8Array> {
    while (this.chunks.length === 0) {
      if (this.ended) return new Uint8Array(0);
      await new Promise<void>((resolve) => {
        this.waiting = resolve;
      });
    }
    const first = this.chunks[0]!;
    const piece = first.subarray(0, length);
    if (piece.length === first.length) this.chunks.shift();
    else this.chunks[0] = first.subarray(length);
    return piece;
  }

  end(): void {
    this.ended = true;
    this.waiting?.();
  }
}

/** Two ends of a line that breaks after `cutForth` bytes from the first to the second, or after `cutBack` bytes the other way. */
export function createLine(
  cutForth = Infinity,
  cutBack = Infinity,
): { readonly ends: readonly [Link, Link]; readonly sent: () => readonly [number, number] } {
  const cut = (): void => {
    forth.end();
    back.end();
  };
  const forth: Pipe = new Pipe(cutForth, cut);
  const back: Pipe = new Pipe(cutBack, cut);
  const end = (out: Pipe, into: Pipe): Link => ({
    sink: { write: (bytes) => out.write(bytes) },
    source: { read: (length) => into.read(length) },
    close: () => {
      // What was written still arrives; nothing more can be.
      out.end();
    },
  });
  return { ends: [end(forth, back), end(back, forth)], sent: () => [forth.sent, back.sent] };
}
