import { describe, expect, it } from 'vitest';
import { type FrameSocket, WebSocketNetwork } from '../src/index.js';

class FakeSocket implements FrameSocket {
  binaryType = 'blob';
  bufferedAmount = 0;
  onopen: FrameSocket['onopen'] = null;
  onmessage: FrameSocket['onmessage'] = null;
  onclose: FrameSocket['onclose'] = null;
  onerror: FrameSocket['onerror'] = null;
  readonly sent: (Uint8Array | string)[] = [];
  closed = false;
  send(data: Uint8Array<ArrayBuffer> | string): void {
    this.sent.push(data);
  }
  close(): void {
    this.closed = true;
  }
  say(data: unknown): void {
    (this.onmessage as unknown as (event: { data: unknown }) => void)({ data });
  }
  open(): void {
    (this.onopen as unknown as () => void)();
  }
  lose(): void {
    (this.onclose as unknown as () => void)();
  }
}

function create() {
  const sockets: FakeSocket[] = [];
  const waits: { milliseconds: number; call: () => void }[] = [];
  const states: boolean[] = [];
  const network = new WebSocketNetwork({
    connect: () => {
      const socket = new FakeSocket();
      sockets.push(socket);
      return socket;
    },
    after: (milliseconds, call) => {
      const wait = { milliseconds, call };
      waits.push(wait);
      return () => void waits.splice(waits.indexOf(wait), 1);
    },
    onState: (open) => states.push(open),
  });
  const got: Uint8Array[] = [];
  network.receiver = (frame) => got.push(frame.slice());
  return { network, sockets, waits, states, got };
}

const frame = (length: number, value: number): Uint8Array<ArrayBuffer> => new Uint8Array(length).fill(value);

describe('a network behind a WebSocket', () => {
  it('has a frame in each binary message', () => {
    const { network, sockets, got, states } = create();
    network.send(frame(60, 1));
    sockets[0]!.open();
    network.send(frame(60, 2));
    expect(sockets[0]!.sent).toEqual([frame(60, 2)]);
    expect(sockets[0]!.binaryType).toBe('arraybuffer');
    sockets[0]!.say(frame(100, 3).buffer);
    expect(got).toEqual([frame(100, 3)]);
    expect(states).toEqual([true]);
  });

  it('leaves out what is no frame, and answers pings of relays', () => {
    const { network, sockets, got } = create();
    sockets[0]!.open();
    for (const data of [new ArrayBuffer(13), new ArrayBuffer(70_000), 'hello', 7, null, undefined, {}, new Uint8Array(60)]) sockets[0]!.say(data);
    expect(got).toEqual([]);
    sockets[0]!.say('ping:123');
    expect(sockets[0]!.sent).toEqual(['pong:123']);
    sockets[0]!.bufferedAmount = 1e9;
    network.send(frame(60, 2));
    expect(sockets[0]!.sent.length).toBe(1);
  });

  it('asks for a relay that is away again and again, until it is closed', () => {
    const { network, sockets, waits, states } = create();
    const pauses: number[] = [];
    for (let i = 0; i < 8; i++) {
      sockets.at(-1)!.lose();
      const { milliseconds, call } = waits.pop()!;
      pauses.push(milliseconds);
      call();
    }
    expect(pauses).toEqual([250, 500, 1000, 2000, 4000, 8000, 8000, 8000]);
    sockets.at(-1)!.open();
    expect(network.isOpen).toBe(true);
    sockets.at(-1)!.lose();
    expect(waits.at(-1)?.milliseconds).toBe(250);
    network.close();
    expect(waits).toEqual([]);
    expect(states).toEqual([true, false]);
  });

  it('does not call it a loss when it is closed', () => {
    const { network, sockets, states } = create();
    sockets[0]!.open();
    network.close();
    sockets[0]!.lose();
    expect([sockets[0]!.closed, network.isOpen, states]).toEqual([true, false, [true]]);
  });
});
