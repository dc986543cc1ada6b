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

/** The same line, which fails when nothing moves on it for so long: the other side, or what is between, may be gone without a word. */
export function patient(link: Link, timeoutMs: () => number, onFailure: () => void): Link {
  const within = async <T>(act: Promise<T>, doing: string): Promise<T> => {
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<never>((_, reject) => {
      const limit = timeoutMs();
      timer = setTimeout(() => {
        onFailure();
        reject(new Error(`nothing could be ${doing} for ${limit / 1000} s`));
      }, limit);
    });
    try {
      return await Promise.race([act, late]);
    } finally {
      clearTimeout(timer);
    }
  };
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
