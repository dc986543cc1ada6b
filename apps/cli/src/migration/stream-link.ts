import type { Duplex } from 'node:stream';
import type { ByteSink, Link } from '@nestvm/migration';
import type { Intake } from './intake.js';

/** Where bytes go that a stream is to take. */
function sinkOf(stream: Duplex): ByteSink {
  let broken: Error | undefined;
  // Not every stream tells a write that is under way: one made of the pipes of a command that has ended waits for ever.
  let fail: (error: Error) => void = () => {};
  stream.on('error', (error) => {
    broken = error;
    fail(error);
  });
  stream.on('close', () => fail(new Error('the connection is closed')));
  return {
    write: (bytes) =>
      new Promise((resolve, reject) => {
        if (broken || stream.destroyed) return reject(broken ?? new Error('the connection is closed'));
        fail = reject;
        stream.write(bytes, (error) => (error ? reject(error) : resolve()));
      }),
  };
}

/** A stream of Node's (a socket, a pair of pipes) as both directions of a migration. */
export function linkOf(stream: Duplex): Link {
  const iterator: AsyncIterator<Buffer> = stream[Symbol.asyncIterator]() as AsyncIterator<Buffer>;
  let rest: Uint8Array = new Uint8Array(0);
  return {
    sink: sinkOf(stream),
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

/** The same of a socket that is read into a buffer of its own. */
export const linkOfIntake = (intake: Intake): Link => ({
  sink: sinkOf(intake.socket),
  source: intake,
  close: () => void intake.socket.end(),
});
