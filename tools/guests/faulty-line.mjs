/** A line between two unix sockets on which something goes wrong: what `migrate-faults` sends migrations through. */
import { connect, createServer } from 'node:net';

/** What may go wrong. */
export const faults = ['cut', 'stall', 'corrupt'];
/** The words of the hand-over, on which a fault can be made to wait. */
export const words = ['ready', 'go', 'running'];

/** Damages one bit of a piece. */
function damage(data) {
  const copy = Buffer.from(data);
  copy[Math.floor(Math.random() * copy.length)] ^= 1 << Math.floor(Math.random() * 8);
  return copy;
}

const says = (data, word) => new RegExp(`CTRL[^]{12,60}say[^]{1,9}${word}`).test(data.toString('latin1'));

/**
 * Listens at `path` and passes on to `target`. `fail(fault)` makes what is connected fail, once for `corrupt`; `failAt(word, fault)` does it to the piece that says
 * this word. Afterwards nobody gets through for `outageMs`; then new connections are whole.
 */
export function createFaultyLine(path, target, outageMs) {
  const pairs = new Set();
  let open = () => {};
  const opened = new Promise((done) => {
    open = done;
  });
  let waiting;
  let failed = () => {};
  const hasFailed = new Promise((done) => {
    failed = done;
  });
  let downUntil = 0;

  class Pair {
    constructor(here) {
      this.here = here;
      this.there = connect(target);
      this.pass(this.here, this.there);
      this.pass(this.there, this.here);
    }

    pass(from, to) {
      from.on('data', (data) => {
        if (waiting && says(data, waiting.word)) {
          fail(waiting.fault);
          if (this.fault !== 'corrupt') return;
        }
        if (this.fault === 'stall') return;
        to.write(this.fault === 'corrupt' ? damage(data) : data);
        this.fault = undefined;
      });
      from.on('end', () => this.fault !== 'stall' && to.end());
      from.on('error', () => to.destroy());
      from.on('close', () => this.fault !== 'stall' && to.destroySoon());
    }

    destroy() {
      this.here.destroy();
      this.there.destroy();
    }
  }

  function fail(fault) {
    waiting = undefined;
    downUntil = fault === 'corrupt' ? 0 : performance.now() + outageMs;
    for (const pair of pairs) {
      if (fault === 'cut') pair.destroy();
      else pair.fault = fault;
    }
    failed();
  }

  const server = createServer((here) => {
    open(undefined);
    if (performance.now() < downUntil) here.destroy();
    else pairs.add(new Pair(here));
  }).listen(path);
  return {
    /** Resolves when the source has come so far as to open the line. */
    opened,
    /** Resolves when a fault has been made. */
    hasFailed,
    fail,
    failAt(word, fault) {
      waiting = { word, fault };
    },
    close() {
      server.close();
      for (const pair of pairs) pair.destroy();
    },
  };
}
