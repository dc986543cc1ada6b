import { finishSum, sumWords } from '../checksum.js';
import { NetworkError } from '../errors.js';
import type { Network, Offload, Receiver } from '../network.js';
import {
  createIpFrame,
  createUdpFrame,
  ETHERNET_BYTES,
  EtherType,
  formatAddress,
  IP_BYTES,
  type IpPacket,
  Protocol,
  parseAddress,
  readIp,
} from '../packets.js';
import { DhcpServer } from './dhcp.js';
import type { NetworkHost } from './host.js';
import { TcpNat } from './tcp-nat.js';
import { UdpNat } from './udp-nat.js';

/** A port of the host that leads to one of the guest. */
export interface HostForward {
  readonly protocol: 'tcp' | 'udp';
  /** Host address (default 127.0.0.1; 0.0.0.0 for all). */
  readonly hostAddress?: string;
  readonly hostPort: number;
  /** Guest address (default the first that DHCP gives). */
  readonly guestAddress?: string;
  readonly guestPort: number;
}

/** A user network's addresses and rules. */
export interface UserNetworkOptions {
  readonly host: NetworkHost;
  /** The network (default `10.0.2.0/24`): its address 2 is the host, 3 the name server, DHCP gives from 15 on. */
  readonly net?: string;
  readonly forwards?: readonly HostForward[];
  /** Guests reach nothing outside, and are only reached through `forwards`. */
  readonly restrict?: boolean;
  /** Name that DHCP gives to the guest. */
  readonly hostName?: string;
}

/** Ethernet address of everything that is not the guest. */
const OUR_MAC = Uint8Array.of(0x52, 0x55, 0x0a, 0, 2, 2);
const BROADCAST = new Uint8Array(6).fill(0xff);
const LOOPBACK = 0x7f000001;

/**
 * A network behind which the guest reaches what the host's programs reach, without any rights on the host: ARP, DHCP, a name server, and NAT for TCP and UDP
 * that ends every connection here and makes a new one from the host.
 */
export class UserNetwork implements Network {
  readonly offloads = true;
  receiver: Receiver | undefined;
  guest = { checksum: false, segments: false };
  readonly hostAddress: number;
  readonly dnsAddress: number;
  readonly firstGuest: number;
  readonly #base: number;
  readonly #mask: number;
  readonly #dhcp: DhcpServer;
  readonly #tcp: TcpNat;
  readonly #udp: UdpNat;
  readonly #macs = new Map<number, Uint8Array>();
  readonly #closers: (() => void)[] = [];

  /** Throws `NetworkError` (`bad-option`). */
  constructor(private readonly options: UserNetworkOptions) {
    const { base, mask } = parseNet(options.net ?? '10.0.2.0/24');
    this.#base = base;
    this.#mask = mask;
    this.hostAddress = base + 2;
    this.dnsAddress = base + 3;
    this.firstGuest = base + 15;
    this.#dhcp = new DhcpServer({
      server: this.hostAddress,
      dns: this.dnsAddress,
      mask,
      first: this.firstGuest,
      count: 16,
      ...(options.hostName === undefined ? {} : { hostName: options.hostName }),
    });
    const routes = {
      host: options.host,
      outside: (address: number, port: number) => this.#outside(address, port),
      macs: (address: number) => this.#macs.get(address) ?? BROADCAST,
      ourMac: OUR_MAC,
      deliver: (frame: Uint8Array, offload?: Offload) => this.receiver?.(frame, offload),
    };
    this.#tcp = new TcpNat(routes, () => this.guest, this.hostAddress);
    this.#udp = new UdpNat(routes, this.hostAddress);
  }

  /** Opens the ports of `forwards`; rejects with the host's reason for the first that cannot be had. */
  async open(): Promise<void> {
    for (const forward of this.options.forwards ?? []) {
      const guest = parseAddress(forward.guestAddress ?? formatAddress(this.firstGuest));
      if (guest === undefined) throw new NetworkError('bad-option', `hostfwd: '${forward.guestAddress}' is no address; write 10.0.2.15`);
      const opened = await (forward.protocol === 'tcp' ? this.#tcp : this.#udp).forward(
        forward.hostAddress ?? '127.0.0.1',
        forward.hostPort,
        guest,
        forward.guestPort,
      );
      this.#closers.push(() => opened.close());
    }
  }

  send(frame: Uint8Array): void {
    if (frame.length < ETHERNET_BYTES) return;
    const type = (frame[12]! << 8) | frame[13]!;
    if (type === EtherType.ARP) this.#arp(frame);
    else if (type === EtherType.IPV4) {
      const packet = readIp(frame);
      if (packet) this.#ip(frame, packet);
    }
  }

  close(): void {
    for (const close of this.#closers.splice(0)) close();
    this.#tcp.close();
    this.#udp.close();
  }

  #inside(address: number): boolean {
    return (address & this.#mask) >>> 0 === this.#base;
  }

  #arp(frame: Uint8Array): void {
    if (frame.length < 42) return;
    const view = new DataView(frame.buffer, frame.byteOffset, frame.length);
    if (view.getUint32(14) !== 0x00010800 || view.getUint16(20) !== 1) return;
    const source = view.getUint32(28);
    const target = view.getUint32(38);
    if (this.#inside(source)) this.#learn(source, frame);
    if (target !== this.hostAddress && target !== this.dnsAddress) return;
    const reply = new Uint8Array(42);
    reply.set(frame.subarray(6, 12), 0);
    reply.set(OUR_MAC, 6);
    reply.set(frame.subarray(12, 20), 12);
    const answer = new DataView(reply.buffer);
    answer.setUint16(20, 2);
    reply.set(OUR_MAC, 22);
    answer.setUint32(28, target);
    reply.set(frame.subarray(22, 32), 32);
    this.receiver?.(reply);
  }

  #learn(address: number, frame: Uint8Array): void {
    if (this.#macs.size < 256 || this.#macs.has(address)) this.#macs.set(address, frame.slice(6, 12));
  }

  #ip(frame: Uint8Array, packet: IpPacket): void {
    if (this.#inside(packet.source)) this.#learn(packet.source, frame);
    switch (packet.protocol) {
      case Protocol.ICMP:
        return this.#ping(frame, packet);
      case Protocol.TCP:
        return this.#tcp.receive(packet);
      case Protocol.UDP:
        if (packet.payload.length >= 8 && packet.payloadView.getUint16(2) === 67) return this.#answerDhcp(frame, packet);
        return this.#udp.receive(packet);
      default:
    }
  }

  /** Echo requests to the host and the name server are answered here; there is no way to send others without rights. */
  #ping(frame: Uint8Array, { source, target, payload }: IpPacket): void {
    if (payload.length < 8 || payload[0] !== 8 || (target !== this.hostAddress && target !== this.dnsAddress)) return;
    const reply = createIpFrame({
      from: OUR_MAC,
      to: frame.subarray(6, 12),
      protocol: Protocol.ICMP,
      source: target,
      target: source,
      payloadBytes: payload.length,
    });
    const start = ETHERNET_BYTES + IP_BYTES;
    reply.set(payload, start);
    reply.fill(0, start, start + 4);
    new DataView(reply.buffer).setUint16(start + 2, finishSum(sumWords(reply, start)));
    this.receiver?.(reply);
  }

  #answerDhcp(frame: Uint8Array, { payload }: IpPacket): void {
    const answer = this.#dhcp.answer(payload.subarray(8));
    if (!answer) return;
    // The client has no address yet, so that the answer goes to its Ethernet address, and to all of them in IP.
    const ends = { from: OUR_MAC, to: frame.subarray(6, 12), source: this.hostAddress, target: 0xffffffff, sourcePort: 67, targetPort: 68 };
    this.receiver?.(createUdpFrame(ends, answer));
  }

  /** Where a packet for `address` goes from the host; undefined: nowhere. */
  #outside(address: number, port: number): string | undefined {
    const { restrict, host } = this.options;
    if (restrict) return undefined;
    if (address === this.hostAddress) return formatAddress(LOOPBACK);
    if (address === this.dnsAddress) return port === 53 ? host.nameServers[0] : undefined;
    if (this.#inside(address) || address >= 0xe0000000 || address === 0) return undefined;
    return formatAddress(address);
  }
}

function parseNet(text: string): { readonly base: number; readonly mask: number } {
  const [address = '', bits = '24'] = text.split('/');
  const base = parseAddress(address);
  const length = /^\d+$/.test(bits) ? Number(bits) : NaN;
  if (base === undefined || !(length >= 8 && length <= 27)) {
    throw new NetworkError('bad-option', `net=${text}: not a network; write 10.0.2.0/24 (with 8 to 27 bits)`);
  }
  const mask = (0xffffffff << (32 - length)) >>> 0;
  return { base: (base & mask) >>> 0, mask };
}
