import type { Link } from '@nestvm/migration';

/** Writes go in pieces, so that a slow line that still moves is not taken for a dead one; a fast one gets larger pieces, which are less work. */
const PIECE_BYTES = 256 << 10;
const LARGEST_PIECE_BYTES = 2 << 20;
const FAST_MS = 100;

interface Waiting {
  sinceMs: number;
  /** What had moved by then, where that is known while somebody waits. */
  seen: number;
  readonly moved: () => number;
  readonly fail: () => void;
}

/** What waits for a line to move, and a single timer for all of it: a line takes thousands of pieces a second. */
class Patience {
  private readonly waiting = new Set<Waiting>();
  private timer: NodeJS.Timeout | undefined;
  private dueMs = Number.POSITIVE_INFINITY;

  constructor(private readonly timeoutMs: () => number) {}

  /** What `act` comes to, or a failure when that takes too long. */
  wait<T>(act: Promise<T>, moved: () => number, onLate: (limitMs: number) => Error): Promise<T> {
    return new Promise((resolve, reject) => {
      const one: Waiting = { sinceMs: performance.now(), seen: moved(), moved, fail: () => reject(onLate(this.timeoutMs())) };
      this.waiting.add(one);
      this.wake(one.sinceMs + this.timeoutMs());
      act.then(
        (value) => {
          this.waiting.delete(one);
          resolve(value);
        },
        (error: unknown) => {
          this.waiting.delete(one);
          reject(error as Error);
        },
      );
    });
  }

  /** Looks at the latest then; a timer that comes too early sets itself anew. */
  private wake(dueMs: number): void {
    if (this.dueMs <= dueMs) return;
    clearTimeout(this.timer);
    this.dueMs = dueMs;
    this.timer = setTimeout(() => this.look(), Math.max(1, dueMs - performance.now())).unref();
  }

  private look(): void {
    this.dueMs = Number.POSITIVE_INFINITY;
    const limit = this.timeoutMs();
    for (const one of this.waiting) {
      const moved = one.moved();
      if (moved !== one.seen) {
        one.seen = moved;
        one.sinceMs = performance.now();
      }
      if (one.sinceMs + limit <= performance.now()) one.fail();
      else this.wake(one.sinceMs + limit);
    }
  }
}

/**
 * The same line, which fails when nothing moves on it for so long: the other side, or what is between, may be gone without a word. `received`: how many bytes have
 * come, for links whose reads wait for more than the next of them.
 */
export function patient(link: Link, timeoutMs: () => number, onFailure: () => void, received = (): number => 0): Link {
  const { sink, source } = link;
  const patience = new Patience(timeoutMs);
  let pieceBytes = PIECE_BYTES;
  const within = <T>(act: Promise<T>, doing: string): Promise<T> =>
    patience.wait(act, doing === 'received' ? received : () => 0, (limitMs) => {
      onFailure();
      return new Error(`nothing could be ${doing} for ${limitMs / 1000} s`);
    });
  const write = async (bytes: Uint8Array): Promise<void> => {
    for (let at = 0; at < bytes.length; ) {
      const piece = bytes.subarray(at, at + pieceBytes);
      const startMs = performance.now();
      await within(sink.write(piece), 'sent');
      pieceBytes = performance.now() - startMs < FAST_MS ? Math.min(2 * pieceBytes, LARGEST_PIECE_BYTES) : PIECE_BYTES;
      at += piece.length;
    }
  };
  const into = source.readInto?.bind(source);
  const readInto = (target: Uint8Array): Promise<number> | number => {
    const came = into!(target);
    // What is there already has not to be waited for.
    return typeof came === 'number' ? came : within(came, 'received');
  };
  return {
    sink: { write },
    source: { read: (length) => within(source.read(length), 'received'), ...(into ? { readInto } : {}) },
    close: () => link.close(),
  };
}
