import type { Readable, Writable } from 'node:stream';
import type { TcpEvents, TcpSocket } from '@nestvm/networks';

/** What is read and written as one connection of a guest; who calls says what is read, when it is closed, and how it is ended at once. */
export function wrapStreams(input: Readable, output: Writable, events: TcpEvents, destroy: () => void): TcpSocket {
  input.on('end', () => events.ended());
  output.on('drain', () => events.drained());
  // What went wrong does not matter to the guest; 'close' follows.
  output.on('error', () => {});
  return {
    write: (bytes) => void (output.writable && output.write(bytes)),
    get waitingBytes() {
      return output.writableLength;
    },
    end: () => void output.end(),
    destroy,
    pause: () => void input.pause(),
    resume: () => void input.resume(),
  };
}
