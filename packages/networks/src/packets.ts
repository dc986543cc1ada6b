import { finishSum, sumWords } from './checksum.js';

/** Ethernet types. */
export const EtherType = { IPV4: 0x0800, ARP: 0x0806 } as const;
/** IP protocols. */
export const Protocol = { ICMP: 1, TCP: 6, UDP: 17 } as const;
/** Bits of TCP's control field. */
export const TcpFlag = { FIN: 1, SYN: 2, RST: 4, PSH: 8, ACK: 16, CWR: 128 } as const;

/** Bytes of headers without options. */
export const ETHERNET_BYTES = 14;
export const IP_BYTES = 20;

/** An address as four bytes, from its text; undefined when it is none. */
export function parseAddress(text: string): number | undefined {
  const parts = text.split('.').map((part) => (/^\d{1,3}$/.test(part) ? Number(part) : 256));
  if (parts.length !== 4 || parts.some((part) => part > 255)) return undefined;
  return parts.reduce((sum, part) => sum * 256 + part, 0);
}

/** Text of an address. */
export const formatAddress = (address: number): string => [24, 16, 8, 0].map((shift) => (address >>> shift) & 0xff).join('.');

/** An IPv4 packet in a frame. */
export interface IpPacket {
  readonly protocol: number;
  readonly source: number;
  readonly target: number;
  /** What it carries; a view of the frame. */
  readonly payload: Uint8Array;
  readonly payloadView: DataView;
}

/** Reads an IPv4 packet; undefined when it is damaged or a fragment. */
export function readIp(frame: Uint8Array): IpPacket | undefined {
  const view = new DataView(frame.buffer, frame.byteOffset, frame.length);
  if (frame.length < ETHERNET_BYTES + IP_BYTES || frame[ETHERNET_BYTES]! >> 4 !== 4) return undefined;
  const headerBytes = (frame[ETHERNET_BYTES]! & 15) * 4;
  const total = view.getUint16(ETHERNET_BYTES + 2);
  if (headerBytes < IP_BYTES || total < headerBytes || ETHERNET_BYTES + total > frame.length) return undefined;
  if (view.getUint16(ETHERNET_BYTES + 6) & 0x3fff) return undefined;
  if (sumWords(frame, ETHERNET_BYTES, ETHERNET_BYTES + headerBytes) !== 0xffff) return undefined;
  const payload = frame.subarray(ETHERNET_BYTES + headerBytes, ETHERNET_BYTES + total);
  return {
    protocol: frame[ETHERNET_BYTES + 9]!,
    source: view.getUint32(ETHERNET_BYTES + 12),
    target: view.getUint32(ETHERNET_BYTES + 16),
    payload,
    payloadView: new DataView(payload.buffer, payload.byteOffset, payload.length),
  };
}

/** What an IPv4 packet is made from. */
export interface IpOptions {
  readonly from: Uint8Array;
  readonly to: Uint8Array;
  readonly protocol: number;
  readonly source: number;
  readonly target: number;
  readonly payloadBytes: number;
  /** Where the frame is put, long enough for it (default: new memory). What is there where the payload comes is left. */
  readonly room?: Uint8Array<ArrayBuffer> | undefined;
}

/** A frame with Ethernet and IP headers, and room for the payload. */
export function createIpFrame({ from, to, protocol, source, target, payloadBytes, room }: IpOptions): Uint8Array<ArrayBuffer> {
  const length = ETHERNET_BYTES + IP_BYTES + payloadBytes;
  const frame = room ? room.subarray(0, length) : new Uint8Array(length);
  if (room) frame.fill(0, 0, ETHERNET_BYTES + IP_BYTES);
  const view = new DataView(frame.buffer, frame.byteOffset);
  frame.set(to, 0);
  frame.set(from, 6);
  view.setUint16(12, EtherType.IPV4);
  view.setUint8(14, 0x45);
  view.setUint16(16, IP_BYTES + payloadBytes);
  // Never fragmented, so that the identification may stay 0 (RFC 6864).
  view.setUint16(20, 0x4000);
  view.setUint8(22, 64);
  view.setUint8(23, protocol);
  view.setUint32(26, source);
  view.setUint32(30, target);
  view.setUint16(24, finishSum(sumWords(frame, ETHERNET_BYTES, ETHERNET_BYTES + IP_BYTES)));
  return frame;
}

/** Sum of the pseudo-header that TCP and UDP add to their checksums. */
export function pseudoHeaderSum(source: number, target: number, protocol: number, lengthBytes: number): number {
  let sum = (source >>> 16) + (source & 0xffff) + (target >>> 16) + (target & 0xffff) + protocol + lengthBytes;
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return sum;
}

/** A UDP datagram in a frame. */
export function createUdpFrame(
  ends: Omit<IpOptions, 'protocol' | 'payloadBytes'> & { readonly sourcePort: number; readonly targetPort: number },
  data: Uint8Array,
): Uint8Array {
  const lengthBytes = 8 + data.length;
  const frame = createIpFrame({ ...ends, protocol: Protocol.UDP, payloadBytes: lengthBytes });
  const view = new DataView(frame.buffer, ETHERNET_BYTES + IP_BYTES);
  view.setUint16(0, ends.sourcePort);
  view.setUint16(2, ends.targetPort);
  view.setUint16(4, lengthBytes);
  frame.set(data, ETHERNET_BYTES + IP_BYTES + 8);
  const sum = sumWords(frame, ETHERNET_BYTES + IP_BYTES, frame.length, pseudoHeaderSum(ends.source, ends.target, Protocol.UDP, lengthBytes));
  view.setUint16(6, finishSum(sum) || 0xffff);
  return frame;
}
