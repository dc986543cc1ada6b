import { describe, expect, it } from 'vitest';
import { type Network, UserNetwork } from '../src/index.js';
import { createRandom, FakeHost, type FakeSocket } from './fake-host.js';

/** Joins two networks by a wire that may lose, double and delay frames: each takes the other for its guest. */
function createPair(random: (n: number) => number, lossPercent: number) {
  const [near, far] = [new FakeHost(), new FakeHost()];
  const client = new UserNetwork({ host: near, forwards: [{ protocol: 'tcp', hostPort: 80, guestPort: 80 }] });
  const server = new UserNetwork({ host: far, net: '10.9.0.0/24' });
  const wire: { readonly to: Network; readonly frame: Uint8Array }[] = [];
  let lost = 0;
  const carry = (to: Network) => (frame: Uint8Array) => {
    if (random(100) < lossPercent) {
      lost++;
      return;
    }
    wire.push({ to, frame: frame.slice() });
    if (lossPercent > 0 && random(50) === 0) wire.push({ to, frame: frame.slice() });
  };
  client.receiver = carry(server);
  server.receiver = carry(client);
  const run = (): void => {
    for (let steps = 0; wire.length > 0 && steps < 100_000; steps++) {
      const next = lossPercent > 0 && random(20) === 0 ? wire.pop()! : wire.shift()!;
      next.to.send(next.frame);
    }
  };
  /** Lets time pass until nothing moves any more. */
  const settle = (): void => {
    for (let i = 0; i < 400; i++) {
      run();
      near.pass(500);
      far.pass(500);
    }
    run();
  };
  return { near, far, client, server, run, settle, lost: () => lost };
}

async function connect(random: (n: number) => number, lossPercent: number) {
  const pair = createPair(random, lossPercent);
  await pair.client.open();
  const here = pair.near.arrive(80);
  for (let i = 0; i < 30 && pair.far.connections.length === 0; i++) {
    pair.run();
    pair.near.pass(1000);
  }
  const there = pair.far.connections[0]!;
  expect([there.address, there.port]).toEqual(['10.0.2.15', 80]);
  there.socket.events!.connected();
  pair.settle();
  return { ...pair, here, there: there.socket };
}

const bytes = (random: (n: number) => number, length: number): Uint8Array => Uint8Array.from({ length }, () => random(256));
const sum = (socket: FakeSocket): string => Buffer.from(socket.received).toString('base64');

describe('TCP between two networks', () => {
  it.each([0, 1, 5, 15])('brings all bytes in both directions and both ends, with %i % of the frames lost', async (lossPercent) => {
    const random = createRandom(lossPercent + 5);
    const { here, there, settle, run, lost, client, server } = await connect(random, lossPercent);
    client.guest = server.guest = { checksum: false, segments: false };
    const [out, back] = [bytes(random, 400_000), bytes(random, 90_000)];
    for (let at = 0; at < out.length; at += 7000) {
      here.events!.data(out.subarray(at, at + 7000));
      if (at < back.length) there.events!.data(back.subarray(at, at + 7000));
      run();
    }
    settle();
    here.events!.ended();
    settle();
    expect(there.ended).toBe(true);
    expect(here.ended).toBe(false);
    there.events!.ended();
    settle();
    expect(here.ended).toBe(true);
    expect(sum(there)).toBe(Buffer.from(out).toString('base64'));
    expect(sum(here)).toBe(Buffer.from(back).toString('base64'));
    expect(here.destroyed || there.destroyed).toBe(false);
    if (lossPercent > 0) expect(lost()).toBeGreaterThan(0);
  });

  it('holds back a sender whose receiver does not read, and goes on when it does', async () => {
    const random = createRandom(3);
    const { here, there, settle } = await connect(random, 0);
    there.waitingBytes = 10 * 2 ** 20;
    const data = bytes(random, 2 ** 20 * 1.5);
    for (let at = 0; at < data.length; at += 65_536) here.events!.data(data.subarray(at, at + 65_536));
    settle();
    expect(here.paused).toBe(true);
    there.waitingBytes = 0;
    there.events!.drained();
    settle();
    expect(here.paused).toBe(false);
    expect(there.received.length).toBe(data.length);
  });

  it('sends long segments to guests that take them', async () => {
    const { here, there, settle, client } = await connect(createRandom(4), 0);
    client.guest = { checksum: true, segments: true };
    let longest = 0;
    const before = client.receiver!;
    client.receiver = (frame, offload) => {
      longest = Math.max(longest, frame.length);
      if (frame.length > 1514) expect(offload).toEqual({ checksum: { start: 34, offset: 16 }, segmentBytes: 1460 });
      before(frame, offload);
    };
    here.events!.data(new Uint8Array(200_000).fill(5));
    settle();
    expect(longest).toBeGreaterThan(30_000);
    expect(there.received.length).toBe(200_000);
  });

  it('acknowledges with its answer, or every second full segment, or a little later', async () => {
    const { here, there, client, server, run, near, far } = await connect(createRandom(8), 0);
    let frames = 0;
    for (const network of [client, server]) {
      const before = network.receiver!;
      network.receiver = (frame) => {
        frames++;
        before(frame);
      };
    }
    const count = (act: () => void): number => {
      frames = 0;
      act();
      return frames;
    };
    // A request and its answer are a frame each; the answer is acknowledged by the next request.
    const exchange = (): void => {
      here.events!.data(new Uint8Array(64));
      run();
      there.events!.data(new Uint8Array(64));
      run();
    };
    exchange();
    expect(count(exchange)).toBe(2);
    const passing = (milliseconds: number) => (): void => {
      far.pass(milliseconds);
      near.pass(milliseconds);
      run();
    };
    // The timer was set for an earlier answer than the one that is owed, and goes on for that.
    expect(count(passing(30))).toBe(0);
    expect(count(exchange)).toBe(2);
    expect(count(passing(20))).toBe(0);
    expect(count(passing(20))).toBe(1);
    expect(count(passing(100))).toBe(0);
    const bulk = count(() => {
      here.events!.data(new Uint8Array(14_600));
      run();
    });
    expect(bulk).toBe(15);
  });

  it('resets the guest when the host’s connection breaks, and the host’s when the guest resets', async () => {
    const { here, there, settle } = await connect(createRandom(5), 0);
    there.events!.closed();
    settle();
    expect(here.destroyed).toBe(true);
  });

  it('gives a guest up that does not answer', async () => {
    const pair = createPair(createRandom(1), 100);
    await pair.client.open();
    const socket = pair.near.arrive(80);
    pair.near.pass(300_000);
    expect(socket.destroyed).toBe(true);
  });
});
