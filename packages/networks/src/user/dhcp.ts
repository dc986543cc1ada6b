const MAGIC = 0x63825363;
const Option = {
  MASK: 1,
  ROUTER: 3,
  DNS: 6,
  HOST_NAME: 12,
  DOMAIN_NAME: 15,
  REQUESTED: 50,
  LEASE: 51,
  TYPE: 53,
  SERVER: 54,
  END: 255,
  PAD: 0,
} as const;
const Message = { DISCOVER: 1, OFFER: 2, REQUEST: 3, DECLINE: 4, ACK: 5, NAK: 6, RELEASE: 7, INFORM: 8 } as const;
const LEASE_SECONDS = 86_400;
const FIXED_BYTES = 240;
const BOOT_FILE_BYTES = 128;

/** What a DHCP server gives to its clients; addresses as 32-bit numbers. */
export interface DhcpOptions {
  readonly server: number;
  readonly dns: number;
  readonly mask: number;
  /** First address that is given away, and how many there are. */
  readonly first: number;
  readonly count: number;
  readonly hostName?: string;
  readonly domainName?: string;
  /** What a client that boots from the network is to fetch by TFTP. */
  readonly bootFile?: string;
}

/** A DHCP server ("RFC 2131") that gives each Ethernet address an IP address and keeps it so. */
export class DhcpServer {
  readonly #addresses = new Map<string, number>();

  constructor(private readonly options: DhcpOptions) {}

  /** The answer to a message, or undefined when there is none. */
  answer(request: Uint8Array): Uint8Array | undefined {
    if (request.length < FIXED_BYTES || request[0] !== 1 || request[1] !== 1 || request[2] !== 6) return undefined;
    const view = new DataView(request.buffer, request.byteOffset, request.length);
    if (view.getUint32(236) !== MAGIC) return undefined;
    const found = readOptions(request);
    const type = found.get(Option.TYPE)?.[0];
    const server = wordOf(found.get(Option.SERVER));
    if (server !== undefined && server !== this.options.server) return undefined;
    if (type === Message.INFORM) return this.#reply(request, Message.ACK, 0);
    if (type !== Message.DISCOVER && type !== Message.REQUEST) return undefined;
    const address = this.#addressOf(request.subarray(28, 34));
    if (address === undefined) return undefined;
    if (type === Message.DISCOVER) return this.#reply(request, Message.OFFER, address);
    const wanted = wordOf(found.get(Option.REQUESTED)) ?? view.getUint32(12);
    return wanted === address ? this.#reply(request, Message.ACK, address) : this.#reply(request, Message.NAK, 0);
  }

  #addressOf(hardware: Uint8Array): number | undefined {
    const key = hardware.join(':');
    const known = this.#addresses.get(key);
    if (known !== undefined) return known;
    if (this.#addresses.size >= this.options.count) return undefined;
    const address = this.options.first + this.#addresses.size;
    this.#addresses.set(key, address);
    return address;
  }

  #reply(request: Uint8Array, type: number, address: number): Uint8Array {
    const { server, dns, mask, hostName, domainName, bootFile = '' } = this.options;
    const reply = new Uint8Array(FIXED_BYTES + 308);
    const view = new DataView(reply.buffer);
    reply.set(request.subarray(0, FIXED_BYTES));
    reply[0] = 2;
    reply.fill(0, 16, 28);
    reply.fill(0, 44, 236);
    view.setUint32(16, address);
    view.setUint32(20, server);
    reply.set(new TextEncoder().encode(bootFile).subarray(0, BOOT_FILE_BYTES - 1), 108);
    let at = FIXED_BYTES;
    const add = (option: number, ...bytes: number[]): void => {
      reply.set([option, bytes.length, ...bytes], at);
      at += 2 + bytes.length;
    };
    add(Option.TYPE, type);
    add(Option.SERVER, ...bytesOf(server));
    if (type !== Message.NAK) {
      add(Option.MASK, ...bytesOf(mask));
      add(Option.ROUTER, ...bytesOf(server));
      add(Option.DNS, ...bytesOf(dns));
      if (address !== 0) add(Option.LEASE, ...bytesOf(LEASE_SECONDS));
      if (hostName !== undefined) add(Option.HOST_NAME, ...new TextEncoder().encode(hostName).subarray(0, 63));
      if (domainName !== undefined) add(Option.DOMAIN_NAME, ...new TextEncoder().encode(domainName).subarray(0, 63));
    }
    reply[at] = Option.END;
    return reply;
  }
}

const bytesOf = (word: number): number[] => [word >>> 24, (word >>> 16) & 0xff, (word >>> 8) & 0xff, word & 0xff];

const wordOf = (bytes: Uint8Array | undefined): number | undefined =>
  bytes?.length === 4 ? new DataView(bytes.buffer, bytes.byteOffset).getUint32(0) : undefined;

function readOptions(message: Uint8Array): Map<number, Uint8Array> {
  const found = new Map<number, Uint8Array>();
  for (let at = FIXED_BYTES; at < message.length && message[at] !== Option.END; ) {
    if (message[at] === Option.PAD) {
      at++;
      continue;
    }
    const length = message[at + 1] ?? 0;
    if (at + 2 + length > message.length) break;
    found.set(message[at]!, message.subarray(at + 2, at + 2 + length));
    at += 2 + length;
  }
  return found;
}
