import type { Offload } from '../network.js';
import type { NetworkHost, TcpEvents, TcpSocket } from './host.js';

/** What the NATs share with their network. */
export interface Routes {
  readonly host: NetworkHost;
  /** Address of the host's side for one that the guest uses; undefined: it leads nowhere. */
  outside(address: number, port: number): string | undefined;
  /** What makes connections to an address inside of the network, where something is behind it. */
  inside(address: number, port: number): ((events: TcpEvents) => TcpSocket) | undefined;
  /** Ethernet address of a guest. */
  macs(address: number): Uint8Array;
  readonly ourMac: Uint8Array;
  deliver(frame: Uint8Array, offload?: Offload): void;
}
