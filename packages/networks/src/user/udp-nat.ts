import { createUdpFrame, type IpPacket, parseAddress } from '../packets.js';
import type { UdpSocket } from './host.js';
import type { Routes } from './routes.js';

const IDLE_MS = 60_000;
const MOST_FLOWS = 1024;
/** Peers whose names a flow remembers; the oldest is forgotten, and goes by its address on the host from then on. */
const MOST_NAMES = 256;
/** Longest datagram that fits into one frame. */
const LONGEST = 1472;

interface Flow {
  readonly socket: UdpSocket;
  /** Host-side `address:port` → the address that the guest knows it by. */
  readonly names: Map<string, number>;
  uses: number;
  seen: number;
  cancel: () => void;
  /** Of a forwarded port: stays when others must go. */
  readonly isForward: boolean;
}

/** NAT for UDP: each port of the guest has a socket of the host for as long as it is used. */
export class UdpNat {
  readonly #flows = new Map<string, Flow>();

  constructor(
    private readonly routes: Routes,
    private readonly hostAddress: number,
  ) {}

  receive({ source, target, payload, payloadView }: IpPacket): void {
    if (payload.length < 8) return;
    const lengthBytes = payloadView.getUint16(4);
    if (lengthBytes < 8 || lengthBytes > payload.length) return;
    const port = payloadView.getUint16(0);
    const targetPort = payloadView.getUint16(2);
    const address = this.routes.outside(target, targetPort);
    if (address === undefined) return;
    const key = `${source}:${port}`;
    const flow = this.#flows.get(key) ?? this.#open(key, source, port);
    flow.uses++;
    remember(flow.names, `${address}:${targetPort}`, target);
    flow.socket.send(payload.slice(8, lengthBytes), address, targetPort);
  }

  /** Lets datagrams to a port of the host go to one of the guest, and answers back. */
  async forward(address: string, port: number, guestAddress: number, guestPort: number): Promise<{ close(): void }> {
    const socket = await this.routes.host.listenUdp(address, port, (bytes, from, fromPort) => {
      const flow = this.#flows.get(`${guestAddress}:${guestPort}`);
      if (flow) flow.uses++;
      // Senders on the host are the host to the guest.
      const sender = parseAddress(from) ?? this.hostAddress;
      this.#deliver(bytes, sender >>> 24 === 127 ? this.hostAddress : sender, fromPort, guestAddress, guestPort);
    });
    // What the guest sends from this port leaves through the same socket.
    const key = `${guestAddress}:${guestPort}`;
    // Of several ports that lead to one of the guest, the first is what it answers from.
    if (this.#flows.get(key)?.isForward) return { close: () => socket.close() };
    this.#close(key);
    this.#flows.set(key, { socket, names: new Map(), uses: 0, seen: 0, cancel: () => {}, isForward: true });
    return { close: () => this.#close(key) };
  }

  close(): void {
    for (const key of this.#flows.keys()) this.#close(key);
  }

  #open(key: string, source: number, port: number): Flow {
    if (this.#flows.size >= MOST_FLOWS)
      for (const [oldest, { isForward }] of this.#flows)
        if (!isForward) {
          this.#close(oldest);
          break;
        }
    const names = new Map<string, number>();
    const socket = this.routes.host.openUdp((bytes, address, fromPort) => {
      const known = names.get(`${address}:${fromPort}`) ?? parseAddress(address);
      if (known !== undefined) this.#deliver(bytes, known, fromPort, source, port);
      flow.uses++;
    });
    const flow: Flow = { socket, names, uses: 0, seen: 0, cancel: () => {}, isForward: false };
    const watch = (): void => {
      flow.cancel = this.routes.host.after(IDLE_MS, () => {
        if (flow.uses === flow.seen) return this.#close(key);
        flow.seen = flow.uses;
        watch();
      });
    };
    watch();
    this.#flows.set(key, flow);
    return flow;
  }

  #close(key: string): void {
    const flow = this.#flows.get(key);
    if (!flow) return;
    this.#flows.delete(key);
    flow.cancel();
    flow.socket.close();
  }

  #deliver(bytes: Uint8Array, source: number, sourcePort: number, target: number, targetPort: number): void {
    // Fragments are not made: what does not fit is lost, as on a link with a small MTU.
    if (bytes.length > LONGEST) return;
    const { routes } = this;
    routes.deliver(createUdpFrame({ from: routes.ourMac, to: routes.macs(target), source, target, sourcePort, targetPort }, bytes));
  }
}

function remember(names: Map<string, number>, key: string, name: number): void {
  if (names.size >= MOST_NAMES && !names.has(key)) names.delete(names.keys().next().value!);
  names.set(key, name);
}
