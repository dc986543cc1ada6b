import { MessageChannel } from 'node:worker_threads';
import { expect, test } from 'vitest';
import { createMessageLink, createMessagePortLink, type Link, type MessagePortLike, migrateIn, migrateOut } from '../src/index.js';
import { Running } from './moving.js';
import { ToyMachine, usedMachine } from './toy-machine.js';

const clock = { nowMs: () => performance.now(), sleep: (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms)) };

function ports(): [Link, Link, MessageChannel] {
  const channel = new MessageChannel();
  const link = (port: unknown): Link => createMessagePortLink(port as MessagePortLike);
  return [link(channel.port1), link(channel.port2), channel];
}

async function readAll(link: Link, length: number): Promise<Uint8Array> {
  const all = new Uint8Array(length);
  for (let at = 0; at < length; ) {
    const piece = await link.source.read(Math.min(100_000, length - at));
    if (piece.length === 0) throw new Error(`ended after ${at} bytes`);
    all.set(piece, at);
    at += piece.length;
  }
  return all;
}

test('a machine moves over a MessagePort', async () => {
  const [here, there, channel] = ports();
  const source = new Running(usedMachine(), true);
  const target = new Running(new ToyMachine(), false);
  const coming = migrateIn(target.live, there).then(async ({ confirm }) => {
    await confirm();
    target.running = true;
  });
  await migrateOut(source.live, here, { clock });
  await coming;
  channel.port1.close();
  expect([source.running, target.running]).toEqual([false, true]);
  expect(target.toy.fingerprint()).toBe(source.toy.fingerprint());
});

test('a line over messages keeps bytes and their order, both ways at once, and bounds what is on the way', async () => {
  const [here, there, channel] = ports();
  const bytes = Uint8Array.from({ length: 9 << 20 }, (_, i) => (i * 7 + (i >> 8)) & 0xff);
  let written = 0;
  const writing = (async () => {
    for (; written < bytes.length; written += 1 << 20) await here.sink.write(bytes.subarray(written, written + (1 << 20)));
  })();
  await clock.sleep(200);
  expect(written).toBeLessThan(5 << 20);
  const back = there.sink.write(bytes.subarray(0, 1000)).then(() => readAll(here, 1000));
  expect(Buffer.from(await readAll(there, bytes.length)).equals(Buffer.from(bytes))).toBe(true);
  expect(await back).toEqual(bytes.slice(0, 1000));
  await writing;
  here.close();
  expect(await there.source.read(10)).toHaveLength(0);
  await expect(here.sink.write(bytes)).rejects.toThrow(/closed/);
  channel.port1.close();
});

test('a side that sends more than was asked for is cut off', async () => {
  let closed = 0;
  const link = createMessageLink({ send: () => {}, close: () => closed++ });
  for (let i = 0; i < 40; i++) link.receive(new Uint8Array((256 << 10) + 1));
  expect(closed).toBe(1);
  for (let i = 0; i < 16; i++) await link.source.read(256 << 10);
  expect(await link.source.read(1)).toHaveLength(0);
  await expect(link.sink.write(Uint8Array.of(1))).rejects.toThrow(/protocol/);
});
