/** A line between two unix sockets on which something goes wrong at a random moment: what `migrate-faults` sends migrations through. */
import { connect, createServer } from 'node:net';

/** What may go wrong. */
export const faults = ['cut', 'stall', 'corrupt'];

/** Damages one bit of a piece. */
function damage(data) {
  const copy = Buffer.from(data);
  copy[Math.floor(Math.random() * copy.length)] ^= 1 << Math.floor(Math.random() * 8);
  return copy;
}

/** Listens at `path` and passes on to `target`; `fail(fault)` makes it fail from then on, once for `corrupt`. */
export function createFaultyLine(path, target) {
  const sockets = [];
  let fault;
  const pass = (from, to) => {
    from.on('data', (data) => {
      if (fault === 'stall') return;
      to.write(fault === 'corrupt' ? damage(data) : data);
      if (fault === 'corrupt') fault = undefined;
    });
    from.on('end', () => fault !== 'stall' && to.end());
    from.on('error', () => to.destroy());
    from.on('close', () => fault !== 'stall' && to.destroySoon());
  };
  const server = createServer((here) => {
    const there = connect(target);
    sockets.push(here, there);
    pass(here, there);
    pass(there, here);
  }).listen(path);
  return {
    /** The source has come so far as to open the line. */
    get opened() {
      return sockets.length > 0;
    },
    fail(what) {
      fault = what;
      if (what === 'cut') for (const socket of sockets) socket.destroy();
    },
    close() {
      server.close();
      for (const socket of sockets) socket.destroy();
    },
  };
}
