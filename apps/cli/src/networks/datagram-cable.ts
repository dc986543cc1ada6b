import { createSocket, type Socket } from 'node:dgram';
import type { Network, Receiver } from '@nestvm/networks';
import { UsageError } from '../errors.js';
import { reasonOf } from '../files.js';

/** Where frames go, one in each datagram, and where they come from. */
export interface DatagramSpec {
  /** A group that everybody on it hears, or one other machine. */
  readonly kind: 'group' | 'peer';
  readonly address: string;
  readonly port: number;
  /** Address and port of this end; of a group, the interface. */
  readonly localAddress?: string;
  readonly localPort?: number;
}

const LONGEST_FRAME = 65_507;
/** Cards whose frames are known to be our own. */
const MOST_CARDS = 64;

const sourceOf = (frame: Uint8Array): string => frame.subarray(6, 12).join();

/** `-netdev socket,mcast=` and `-netdev socket,udp=`: a frame is a datagram, as QEMU has it. */
export class DatagramCable implements Network {
  readonly offloads = false;
  receiver: Receiver | undefined;
  private socket: Socket | undefined;
  /** The host brings to a group's members what they have sent themselves: it is left out by the sender's address. */
  private readonly own = new Set<string>();

  constructor(
    private readonly option: string,
    private readonly spec: DatagramSpec,
  ) {}

  /** Takes the port, and joins the group; rejects with `UsageError`. */
  async open(): Promise<void> {
    const { kind, address, port, localAddress, localPort } = this.spec;
    const socket = createSocket({ type: 'udp4', reuseAddr: kind === 'group' });
    this.socket = socket;
    try {
      await new Promise<void>((resolve, reject) => {
        socket.once('error', reject);
        if (kind === 'group') socket.bind(port, resolve);
        else socket.bind(localPort ?? 0, localAddress ?? '127.0.0.1', resolve);
      });
      if (kind === 'group') {
        socket.addMembership(address, localAddress);
        if (localAddress !== undefined) socket.setMulticastInterface(localAddress);
        socket.setMulticastLoopback(true);
      }
    } catch (error) {
      throw new UsageError(`${this.option}: ${address}:${port}: ${reasonOf(error)}`);
    }
    socket.on('error', () => {});
    socket.on('message', (frame) => {
      if (kind === 'peer' || !this.own.has(sourceOf(frame))) this.receiver?.(frame);
    });
  }

  send(frame: Uint8Array): void {
    if (this.socket === undefined || frame.length > LONGEST_FRAME) return;
    const { kind, address, port } = this.spec;
    if (kind === 'group' && this.own.size < MOST_CARDS) this.own.add(sourceOf(frame));
    // The frame's bytes are the guest's, and good during this call only.
    this.socket.send(frame.slice(), port, address, () => {});
  }

  close(): void {
    this.socket?.close();
    this.socket = undefined;
  }
}
