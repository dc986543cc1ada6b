import { type IpPacket, TcpFlag } from '../packets.js';
import type { Routes } from './routes.js';
import { MOST_WAITING, TcpConnection, type TcpPeer } from './tcp-connection.js';
import { createTcpFrame, type OutgoingSegment, readSegment, resetFor, type TcpEnds } from './tcp-segment.js';

/** Connections of one network at a time. */
const MOST_CONNECTIONS = 4096;
/** Bytes that may wait in memory for all of them in one direction, more or less, and for one in any case. */
const ALL_WAITING = 64 * 2 ** 20;
const LEAST_WAITING = 16 * 1024;
/** Payload of the longest segment for a guest that takes those: an IP packet has 65,535 bytes at most. */
const LONGEST_SEGMENT = 65_000;
const LONGEST_FRAME = 65_536 + 64;

/** NAT for TCP: each connection of the guest ends here and goes on as one of the host. */
export class TcpNat implements TcpPeer {
  readonly #connections = new Map<string, TcpConnection>();
  /** Where frames are put together, and whether one is there that is under way. */
  readonly #room = new Uint8Array(LONGEST_FRAME);
  #sending = false;
  #nextPort = 49_152;
  #sequence = 1;

  constructor(
    private readonly routes: Routes,
    private readonly guest: () => { readonly checksum: boolean; readonly segments: boolean },
    private readonly hostAddress: number,
  ) {}

  receive(packet: IpPacket): void {
    const segment = readSegment(packet.payload);
    if (!segment) return;
    const ends = { guestAddress: packet.source, guestPort: segment.sourcePort, address: packet.target, port: segment.targetPort };
    const known = this.#connections.get(keyOf(ends));
    if (known) return known.receive(segment);
    if (segment.flags & TcpFlag.RST) return;
    const inside = this.routes.inside(ends.address, ends.port);
    const address = inside ? undefined : this.routes.outside(ends.address, ends.port);
    const opening = (segment.flags & (TcpFlag.SYN | TcpFlag.ACK)) === TcpFlag.SYN;
    if (!opening || (!inside && address === undefined) || this.#connections.size >= MOST_CONNECTIONS) return this.#send(ends, resetFor(segment));
    const connection = this.#add(ends, false);
    connection.receive(segment);
    connection.socket = inside ? inside(connection) : this.routes.host.connectTcp(address!, ends.port, connection);
  }

  /** Lets connections to a port of the host go to one of the guest. */
  forward(address: string, port: number, guestAddress: number, guestPort: number): Promise<{ close(): void }> {
    return this.routes.host.listenTcp(address, port, (socket) => {
      const connection = this.#add({ guestAddress, guestPort, address: this.hostAddress, port: this.#freePort(guestAddress, guestPort) }, true);
      connection.socket = socket;
      connection.open();
      return connection;
    });
  }

  close(): void {
    for (const connection of this.#connections.values()) {
      connection.socket?.destroy();
      connection.abort();
    }
  }

  transmit(connection: TcpConnection, segment: OutgoingSegment): void {
    this.#send(connection.ends, segment);
  }

  longest(mss: number): number {
    return this.guest().segments ? Math.floor(LONGEST_SEGMENT / mss) * mss : mss;
  }

  get mostWaiting(): number {
    return Math.max(LEAST_WAITING, Math.min(MOST_WAITING, ALL_WAITING / this.#connections.size));
  }

  after(milliseconds: number, call: () => void): () => void {
    return this.routes.host.after(milliseconds, call);
  }

  gone(connection: TcpConnection): void {
    this.#connections.delete(keyOf(connection.ends));
  }

  #add(ends: TcpEnds, incoming: boolean): TcpConnection {
    // Successive connections of one pair of ports are told apart by their first numbers; nobody else is on this link.
    this.#sequence = (this.#sequence + 0x10001) | 0;
    const connection = new TcpConnection(ends, this, this.#sequence, incoming);
    this.#connections.set(keyOf(ends), connection);
    return connection;
  }

  #freePort(guestAddress: number, guestPort: number): number {
    for (let tries = 0; tries < 16_384; tries++) {
      const port = this.#nextPort;
      this.#nextPort = port === 65_535 ? 49_152 : port + 1;
      if (!this.#connections.has(keyOf({ guestAddress, guestPort, address: this.hostAddress, port }))) return port;
    }
    return this.#nextPort;
  }

  #send(ends: TcpEnds, segment: OutgoingSegment): void {
    const { routes } = this;
    // Whoever receives it may send something that is answered before this returns.
    const nested = this.#sending;
    const room = nested ? undefined : this.#room;
    const { frame, offload } = createTcpFrame(routes.ourMac, routes.macs(ends.guestAddress), ends, segment, this.guest(), room);
    this.#sending = true;
    try {
      routes.deliver(frame, offload);
    } finally {
      this.#sending = nested;
    }
  }
}

const keyOf = ({ guestAddress, guestPort, address, port }: TcpEnds): string => `${guestAddress}:${guestPort}>${address}:${port}`;
