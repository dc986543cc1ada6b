import { expect, test } from 'vitest';
import { type LiveMachine, type MigrateOptions, type MigrationStatus, migrateIn, migrateOut } from '../src/index.js';
import { createLine } from './pipe.js';
import { ToyMachine } from './toy-machine.js';

const PAGES = 1024;
/** The line takes a page in a millisecond. */
const BANDWIDTH = 4096 * 1000;

/** A guest that writes to `rate` pages in each millisecond that it runs, in turn; time passes only when somebody waits. */
class Writer {
  readonly bytes = new Uint8Array(PAGES * 4096);
  share = 0;
  private dirty = new Uint32Array(PAGES / 32);
  private next = 0;
  private running = true;

  constructor(private readonly rate: number) {
    for (let page = 0; page < PAGES; page++) this.bytes[page * 4096] = 1;
  }

  pass(ms: number): void {
    if (!this.running) return;
    const end = this.next + ms * this.rate * (1 - this.share);
    for (let page = Math.floor(this.next); page < Math.floor(end); page++) {
      this.bytes[(page % PAGES) * 4096 + 8]!++;
      this.dirty[(page % PAGES) >>> 5]! |= 1 << (page & 31);
    }
    this.next = end;
  }

  get live(): LiveMachine {
    const toy = new ToyMachine();
    return {
      configuration: () => toy.configuration(),
      mismatches: () => [],
      units: () => toy.units(),
      ram: () => [{ name: 'ram', bytes: this.bytes }],
      nested: toy.nested,
      forgetCaches: () => {},
      dirty: {
        start: () => {},
        stop: () => {},
        take: () => {
          const taken = this.dirty;
          this.dirty = new Uint32Array(PAGES / 32);
          return [taken];
        },
      },
      pause: () => {
        this.running = false;
        return Promise.resolve();
      },
      resume: () => {},
    };
  }
}

/** Moves it, and tells how it went. */
async function moveWriter(rate: number, throttled: boolean): Promise<{ last: MigrationStatus; left: number; shares: number[] }> {
  const source = new Writer(rate);
  const target = new Writer(0);
  const line = createLine();
  let ms = 0;
  const clock = {
    nowMs: () => ms,
    sleep: (wait: number) => {
      ms += wait;
      source.pass(wait);
      return Promise.resolve();
    },
  };
  let left = 0;
  const shares: number[] = [];
  const throttle: MigrateOptions['throttle'] = (share) => {
    source.share = share;
    shares.push(share);
  };
  const options: MigrateOptions = {
    clock,
    bandwidth: BANDWIDTH,
    downtimeLimitMs: 50,
    compression: 'none',
    ...(throttled ? { throttle } : {}),
    onStatus: ({ phase, remainingBytes }) => {
      if (phase === 'pre-copy') left = remainingBytes;
    },
  };
  const [{ status }] = await Promise.all([
    migrateOut(source.live, line.ends[0], options),
    migrateIn(target.live, line.ends[1]).then((arrival) => arrival.confirm()),
  ]);
  expect(Buffer.compare(target.bytes, source.bytes)).toBe(0);
  return { last: status, left: left / 4096, shares };
}

test.each([1.2, 2, 5, 20])('a guest that dirties %f times as much as the line takes converges when it is held back', async (rate) => {
  const free = await moveWriter(rate, false);
  expect([free.last.passes, free.left > 600]).toEqual([30, true]);
  const held = await moveWriter(rate, true);
  expect(held.left).toBeLessThanOrEqual(50);
  expect(held.last.passes).toBeLessThan(20);
  expect(held.shares).toEqual(held.shares.toSorted((a, b) => a - b));
  console.log(
    `dirty ${rate} × line: free ${free.last.passes} passes, ${free.left} pages left; held back ${held.last.passes} passes, ${held.left} left, share ${held.shares.at(-1)?.toFixed(2)}`,
  );
});

test('a guest that dirties less than the line takes is not held back', async () => {
  const { shares, last, left } = await moveWriter(0.5, true);
  expect([shares, left <= 50, last.throttle]).toEqual([[], true, 0]);
  expect(last.passes).toBeLessThan(8);
});
