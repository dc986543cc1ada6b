import type { NetworkHost, TcpEvents, TcpSocket, UdpSocket } from '../src/index.js';

/** A repeatable source of numbers below `n`. */
export function createRandom(seed: number): (n: number) => number {
  let state = seed >>> 0 || 1;
  return (n) => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) % n;
  };
}

/** A TCP socket whose other end is the test. */
export class FakeSocket implements TcpSocket {
  readonly received: number[] = [];
  waitingBytes = 0;
  ended = false;
  destroyed = false;
  paused = false;
  events: TcpEvents | undefined;

  write(bytes: Uint8Array): void {
    for (const byte of bytes) this.received.push(byte);
  }
  end(): void {
    this.ended = true;
  }
  destroy(): void {
    this.destroyed = true;
  }
  pause(): void {
    this.paused = true;
  }
  resume(): void {
    this.paused = false;
  }
}

/** A host without sockets: connections end in the test, time passes by `pass`. */
export class FakeHost implements NetworkHost {
  readonly nameServers = ['192.0.2.53'];
  readonly connections: { readonly address: string; readonly port: number; readonly socket: FakeSocket }[] = [];
  readonly datagrams: { readonly bytes: Uint8Array; readonly address: string; readonly port: number; answer(bytes: Uint8Array): void }[] = [];
  readonly listeners = new Map<string, (socket: TcpSocket) => TcpEvents>();
  openSockets = 0;
  private now = 0;
  private timers: { readonly at: number; readonly call: () => void }[] = [];

  connectTcp(address: string, port: number, events: TcpEvents): TcpSocket {
    const socket = new FakeSocket();
    socket.events = events;
    this.connections.push({ address, port, socket });
    return socket;
  }

  listenTcp(address: string, port: number, accept: (socket: TcpSocket) => TcpEvents): Promise<{ close(): void }> {
    if (this.listeners.has(`${address}:${port}`)) return Promise.reject(Object.assign(new Error('in use'), { code: 'EADDRINUSE', port }));
    this.listeners.set(`${address}:${port}`, accept);
    return Promise.resolve({ close: () => void this.listeners.delete(`${address}:${port}`) });
  }

  openUdp(received: (bytes: Uint8Array, address: string, port: number) => void): UdpSocket {
    this.openSockets++;
    return {
      send: (bytes, address, port) => void this.datagrams.push({ bytes, address, port, answer: (answer) => received(answer, address, port) }),
      close: () => void this.openSockets--,
    };
  }

  listenUdp(_address: string, _port: number, received: (bytes: Uint8Array, address: string, port: number) => void): Promise<UdpSocket> {
    return Promise.resolve(this.openUdp(received));
  }

  after(milliseconds: number, call: () => void): () => void {
    const timer = { at: this.now + milliseconds, call };
    this.timers.push(timer);
    return () => {
      this.timers = this.timers.filter((other) => other !== timer);
    };
  }

  /** Someone connects to a port that is listened on. */
  arrive(port: number, address = '127.0.0.1'): FakeSocket {
    const socket = new FakeSocket();
    socket.events = this.listeners.get(`${address}:${port}`)!(socket);
    return socket;
  }

  /** Lets time pass. */
  pass(milliseconds: number): void {
    const end = this.now + milliseconds;
    for (;;) {
      const [next] = this.timers.filter(({ at }) => at <= end).sort((a, b) => a.at - b.at);
      if (!next) break;
      this.timers = this.timers.filter((timer) => timer !== next);
      this.now = next.at;
      next.call();
    }
    this.now = end;
  }
}
