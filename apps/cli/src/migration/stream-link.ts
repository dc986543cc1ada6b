import type { Duplex } from 'node:stream';
import type { Link } from '@nestvm/migration';

/** Writes go in pieces, so that a slow line that still moves is not taken for a dead one. */
const PIECE_BYTES = 256 << 10;

/** A stream of Node's (a socket, a pair of pipes) as both directions of a migration. */
export function linkOf(stream: Duplex): Link {
  const iterator: AsyncIterator<Buffer> = stream[Symbol.asyncIterator]() as AsyncIterator<Buffer>;
  let rest: Uint8Array = new Uint8Array(0);
  let broken: Error | undefined;
  stream.on('error', (error) => {
    broken = error;
  });
  return {
    sink: {
      write: (bytes) =>
        new Promise((resolve, reject) => {
          if (broken || stream.destroyed) return reject(broken ?? new Error('the connection is closed'));
          stream.write(bytes, (error) => (error ? reject(error) : resolve()));
        }),
    },
    source: {
      read: async (length) => {
        if (rest.length === 0) {
          const { value, done } = await iterator.next().catch(() => ({ value: undefined, done: true }));
          if (done || value === undefined) return new Uint8Array(0);
          rest = value;
        }
        const piece = rest.subarray(0, length);
        rest = rest.subarray(piece.length);
        return piece;
      },
    },
    close: () => void stream.end(),
  };
}

/** What waits for a line to move, and a single timer for all of it: a line takes tens of thousands of pieces a second. */
class Patience {
  private readonly waiting = new Set<{ readonly sinceMs: number; readonly fail: () => void }>();
  private timer: NodeJS.Timeout | undefined;
  private dueMs = Number.POSITIVE_INFINITY;

  constructor(private readonly timeoutMs: () => number) {}

  async wait<T>(act: Promise<T>, onLate: (limitMs: number) => Error): Promise<T> {
    let fail = (): void => {};
    const late = new Promise<never>((_, reject) => {
      fail = () => reject(onLate(this.timeoutMs()));
    });
    const one = { sinceMs: performance.now(), fail };
    this.waiting.add(one);
    this.wake(one.sinceMs + this.timeoutMs());
    try {
      return await Promise.race([act, late]);
    } finally {
      this.waiting.delete(one);
    }
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
    for (const { sinceMs, fail } of this.waiting) {
      if (sinceMs + limit <= performance.now()) fail();
      else this.wake(sinceMs + limit);
    }
  }
}

/** The same line, which fails when nothing moves on it for so long: the other side, or what is between, may be gone without a word. */
export function patient(link: Link, timeoutMs: () => number, onFailure: () => void): Link {
  const patience = new Patience(timeoutMs);
  const within = <T>(act: Promise<T>, doing: string): Promise<T> =>
    patience.wait(act, (limitMs) => {
      onFailure();
      return new Error(`nothing could be ${doing} for ${limitMs / 1000} s`);
    });
  return {
    sink: {
      write: async (bytes) => {
        for (let at = 0; at < bytes.length; at += PIECE_BYTES) await within(link.sink.write(bytes.subarray(at, at + PIECE_BYTES)), 'sent');
      },
    },
    source: { read: (length) => within(link.source.read(length), 'received') },
    close: () => link.close(),
  };
}
