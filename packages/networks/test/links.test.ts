import { describe, expect, it } from 'vitest';
import { DumpedNetwork, Hub, NetworkError, SocketLink } from '../src/index.js';

const frame = (length: number, fill: number): Uint8Array => new Uint8Array(length).fill(fill);

describe('a socket link', () => {
  it('sends frames behind their lengths, and takes them in any pieces', () => {
    const sent: number[] = [];
    const link = new SocketLink();
    link.attach({ write: (bytes) => void sent.push(...bytes), waitingBytes: 0, close: () => {} });
    link.send(frame(60, 1));
    link.send(frame(300, 2));
    expect(sent.length).toBe(0);
    link.flush();
    expect(sent.slice(0, 5)).toEqual([0, 0, 0, 60, 1]);
    expect(sent.slice(64, 69)).toEqual([0, 0, 1, 44, 2]);
    for (const step of [1, 3, 7, 64, 1000]) {
      const got: number[] = [];
      const other = new SocketLink();
      other.receiver = (bytes) => void got.push(bytes.length, bytes[0]!);
      for (let at = 0; at < sent.length; at += step) other.take(Uint8Array.from(sent.slice(at, at + step)));
      expect(got).toEqual([60, 1, 300, 2]);
    }
  });

  it('hangs up on what is no frame', () => {
    let closed = false;
    const link = new SocketLink();
    link.attach({ write: () => {}, waitingBytes: 0, close: () => void (closed = true) });
    expect(() => link.take(new TextEncoder().encode('HTTP/1.1 200 OK'))).toThrow(NetworkError);
    expect(closed).toBe(true);
  });
});

it('a hub repeats to all but the sender', () => {
  const hub = new Hub();
  const heard: string[] = [];
  const ports = ['a', 'b', 'c'].map((name) => {
    const port = hub.port();
    port.receiver = (bytes) => void heard.push(`${name}${bytes[0]}`);
    return port;
  });
  ports[1]!.send(frame(60, 9));
  expect(heard).toEqual(['a9', 'c9']);
});

it('a dump has every frame of both directions, cut to its limit', () => {
  const inner = new SocketLink();
  const file: number[] = [];
  const network = new DumpedNetwork(inner, { write: (bytes) => void file.push(...bytes), now: () => 3_000_007, mostBytes: 64 });
  const heard: number[] = [];
  network.receiver = (bytes) => void heard.push(bytes.length);
  network.send(frame(60, 1));
  inner.receiver!(frame(100, 2));
  expect(heard).toEqual([100]);
  const view = new DataView(Uint8Array.from(file).buffer);
  expect(view.getUint32(0)).toBe(0xa1b2c3d4);
  expect([24, 28, 32, 36].map((at) => view.getUint32(at))).toEqual([3, 7, 60, 60]);
  expect([100, 104, 108, 112].map((at) => view.getUint32(at))).toEqual([3, 7, 64, 100]);
  expect(file.length).toBe(24 + 16 + 60 + 16 + 64);
});
