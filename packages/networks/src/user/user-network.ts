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
import type { NetworkHost, TcpEvents, TcpSocket } from './host.js';
import { TcpNat } from './tcp-nat.js';
import { type TftpFolder, TftpServer } from './tftp.js';
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

/** An address inside of the network that leads to a port of the host's surroundings. */
export interface GuestForward {
  /** Address in the network, and port. */
  readonly address: string;
  readonly port: number;
  /** Makes a connection to what is behind it. */
  readonly connect: (events: TcpEvents) => TcpSocket;
}

/** A user network's addresses and rules. */
export interface UserNetworkOptions {
  readonly host: NetworkHost;
  /** The network (default `10.0.2.0/24`): its address 2 is the host, 3 the name server, DHCP gives from 15 on. */
  readonly net?: string;
  readonly forwards?: readonly HostForward[];
  /** Guests reach nothing outside, and are only reached through `forwards`. */
  readonly restrict?: boolean;
  /** Name that DHCP gives to the guest, and its domain. */
  readonly hostName?: string;
  readonly domainName?: string;
  /** Addresses in place of 2, 3 and 15. */
  readonly hostAddress?: string;
  readonly dnsAddress?: string;
  readonly dhcpStart?: string;
  /** Files that guests may fetch from the host by TFTP, and the one that DHCP names for booting. */
  readonly tftp?: TftpFolder;
  readonly bootFile?: string;
  /** Places in the network that lead elsewhere, with `restrict`, too. */
  readonly guestForwards?: readonly GuestForward[];
}

/** Ethernet address of everything that is not the guest. */
const OUR_MAC = Uint8Array.of(0x52, 0x55, 0x0a, 0, 2, 2);
const BROADCAST = new Uint8Array(6).fill(0xff);
const LOOPBACK = 0x7f000001;
const DHCP_PORT = 67;
const TFTP_PORT = 69;
/** Addresses that DHCP gives. */
const MOST_GUESTS = 16;

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
  readonly #tftp: TftpServer | undefined;
  readonly #macs = new Map<number, Uint8Array>();
  readonly #forwards: (HostForward & { readonly close: () => void })[] = [];

  /** Throws `NetworkError` (`bad-option`). */
  constructor(private readonly options: UserNetworkOptions) {
    const { base, mask } = parseNet(options.net ?? '10.0.2.0/24');
    this.#base = base;
    this.#mask = mask;
    this.hostAddress = this.#addressOf('host', options.hostAddress, 2);
    this.dnsAddress = this.#addressOf('dns', options.dnsAddress, 3);
    this.firstGuest = this.#addressOf('dhcpstart', options.dhcpStart, 15);
    if (this.hostAddress === this.dnsAddress)
      throw new NetworkError('bad-option', `dns: host and name server are both ${formatAddress(this.hostAddress)}; choose another`);
    for (const { address, port } of options.guestForwards ?? []) this.#addressOf(`guestfwd ${address}:${port}`, address, 0);
    this.#dhcp = new DhcpServer({
      server: this.hostAddress,
      dns: this.dnsAddress,
      mask,
      first: this.firstGuest,
      count: this.#guestCount(),
      ...(options.hostName === undefined ? {} : { hostName: options.hostName }),
      ...(options.domainName === undefined ? {} : { domainName: options.domainName }),
      ...(options.bootFile === undefined ? {} : { bootFile: options.bootFile }),
    });
    const routes = {
      host: options.host,
      outside: (address: number, port: number) => this.#outside(address, port),
      inside: (address: number, port: number) =>
        options.guestForwards?.find((forward) => forward.port === port && parseAddress(forward.address) === address)?.connect,
      macs: (address: number) => this.#macs.get(address) ?? BROADCAST,
      ourMac: OUR_MAC,
      deliver: (frame: Uint8Array, offload?: Offload) => this.receiver?.(frame, offload),
    };
    this.#tcp = new TcpNat(routes, () => this.guest, this.hostAddress);
    this.#udp = new UdpNat(routes, this.hostAddress);
    this.#tftp = options.tftp && new TftpServer(options.tftp);
  }

  /** Opens the ports of `forwards`; rejects with the host's reason for the first that cannot be had. */
  async open(): Promise<void> {
    for (const forward of this.options.forwards ?? []) await this.addForward(forward);
  }

  /** Opens one more port; rejects with `NetworkError` (`bad-option`) or with the host's reason when it cannot be had. */
  async addForward(forward: HostForward): Promise<void> {
    const guest = parseAddress(forward.guestAddress ?? formatAddress(this.firstGuest));
    if (guest === undefined) throw new NetworkError('bad-option', `hostfwd: '${forward.guestAddress}' is no address; write 10.0.2.15`);
    const { hostAddress = '127.0.0.1', hostPort } = forward;
    const opened = await (forward.protocol === 'tcp' ? this.#tcp : this.#udp).forward(hostAddress, hostPort, guest, forward.guestPort);
    this.#forwards.push({ ...forward, hostAddress, close: () => opened.close() });
  }

  /** Closes a port; connections that have come through it stay. False when there is no such forward. */
  removeForward({ protocol, hostAddress = '127.0.0.1', hostPort }: Pick<HostForward, 'protocol' | 'hostAddress' | 'hostPort'>): boolean {
    const at = this.#forwards.findIndex((each) => each.protocol === protocol && each.hostAddress === hostAddress && each.hostPort === hostPort);
    if (at < 0) return false;
    for (const { close } of this.#forwards.splice(at, 1)) close();
    return true;
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
    for (const { close } of this.#forwards.splice(0)) close();
    this.#tcp.close();
    this.#udp.close();
    this.#tftp?.close();
  }

  /** Addresses that DHCP may give: up to the first that is somebody else's, or the end of the network. */
  #guestCount(): number {
    const last = (this.#base | ~this.#mask) >>> 0;
    const next = [this.hostAddress, this.dnsAddress, last].filter((address) => address >= this.firstGuest);
    return Math.min(MOST_GUESTS, ...next.map((address) => address - this.firstGuest));
  }

  /** An address of an option, which must lie in the network and be that of a machine. */
  #addressOf(option: string, text: string | undefined, number: number): number {
    const address = text === undefined ? this.#base + number : parseAddress(text);
    const last = (this.#base | ~this.#mask) >>> 0;
    if (address !== undefined && this.#inside(address) && address !== this.#base && address !== last) return address;
    throw new NetworkError('bad-option', `${option}: '${text}' is no address in ${formatAddress(this.#base)}; choose one of that network`);
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
    const isForward = this.options.guestForwards?.some(({ address }) => parseAddress(address) === target) ?? false;
    if (target !== this.hostAddress && target !== this.dnsAddress && !isForward) return;
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
        return this.#datagram(frame, packet);
      default:
    }
  }

  #datagram(frame: Uint8Array, packet: IpPacket): void {
    const port = packet.payload.length < 8 ? 0 : packet.payloadView.getUint16(2);
    if (port === DHCP_PORT) return this.#answerDhcp(frame, packet);
    if (port === TFTP_PORT && this.#tftp && packet.target === this.hostAddress) return this.#answerTftp(frame, packet, this.#tftp);
    this.#udp.receive(packet);
  }

  #answerTftp(frame: Uint8Array, { source, payload, payloadView }: IpPacket, server: TftpServer): void {
    const port = payloadView.getUint16(0);
    const answer = server.answer(`${source}:${port}`, payload.subarray(8));
    const ends = { from: OUR_MAC, to: frame.subarray(6, 12), source: this.hostAddress, target: source, sourcePort: TFTP_PORT, targetPort: port };
    if (answer) this.receiver?.(createUdpFrame(ends, answer));
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
