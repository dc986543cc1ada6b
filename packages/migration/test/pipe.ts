import type { Link } from '../src/index.js';

/** What goes wrong with one direction of a line. */
export interface Fault {
  /** The line (both directions) ends when so many bytes have gone through, and `onEnd` is called. */
  readonly endAfter?: number;
  readonly onEnd?: () => void;
  /** The byte at this place arrives as another one. */
  readonly corrupt?: number;
}

/** A line on which nothing moves for so long fails by itself, as sockets with a timeout do. */
const STALL_MS = 20;

/** One direction: bytes go in pieces. */
class Pipe {
  private readonly chunks: Uint8Array[] = [];
  private waiting: (() => void) | undefined;
  private ended = false;
  sent = 0;

  constructor(
    private readonly fault: Fault,
    private readonly onEnd: () => void,
    private readonly onStall: () => void,
  ) {}

  write(bytes: Uint8Array): Promise<void> {
    if (this.ended) return Promise.reject(new Error('connection reset'));
    const { endAfter = Infinity, corrupt = -1 } = this.fault;
    const room = Math.max(0, Math.min(bytes.length, endAfter - this.sent));
    const piece = bytes.slice(0, room);
    if (corrupt >= this.sent && corrupt < this.sent + room) piece[corrupt - this.sent]! ^= 1 << (corrupt & 7);
    this.sent += bytes.length;
    if (room > 0) this.chunks.push(piece);
    if (room < bytes.length) this.onEnd();
    this.waiting?.();
    return Promise.resolve();
  }

  async read(length: number): Promise<Uint8Array> {
    while (this.chunks.length === 0) {
      if (this.ended) return new Uint8Array(0);
      const stalled = setTimeout(this.onStall, STALL_MS);
      await new Promise<void>((resolve) => {
        this.waiting = resolve;
      });
      clearTimeout(stalled);
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

/** Two ends of a line, with what goes wrong from the first to the second, and back. */
export function createLine(
  forthFault: Fault = {},
  backFault: Fault = {},
): { readonly ends: readonly [Link, Link]; readonly sent: () => readonly [number, number] } {
  const end = (): void => {
    forth.end();
    back.end();
  };
  const pipe = (fault: Fault): Pipe => {
    const onEnd = (): void => {
      end();
      fault.onEnd?.();
    };
    return new Pipe(fault, onEnd, end);
  };
  const forth = pipe(forthFault);
  const back = pipe(backFault);
  const endOf = (out: Pipe, into: Pipe): Link => ({
    sink: { write: (bytes) => out.write(bytes) },
    source: { read: (length) => into.read(length) },
    // What was written still arrives; nothing more can be.
    close: () => out.end(),
  });
  return { ends: [endOf(forth, back), endOf(back, forth)], sent: () => [forth.sent, back.sent] };
}
