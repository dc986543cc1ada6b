import { finishSum, sumWords } from './checksum.js';
import { ETHERNET_BYTES, IP_BYTES, Protocol, pseudoHeaderSum } from './packets.js';

/** A frame with TCP over IPv4 without IP options or fragments: where its parts are. */
export interface TcpFrame {
  readonly view: DataView;
  readonly bytes: Uint8Array;
  /** Offset of the TCP header, and of its data. */
  readonly tcp: number;
  readonly data: number;
  /** End of the data: frames may be padded. */
  readonly end: number;
}

/** Looks into a frame; undefined when it is not such a one, or is cut. */
export function readTcpFrame(bytes: Uint8Array): TcpFrame | undefined {
  const tcp = ETHERNET_BYTES + IP_BYTES;
  if (bytes.length < tcp + 20) return undefined;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const isPlain = view.getUint16(12) === 0x0800 && view.getUint8(14) === 0x45 && (view.getUint16(20) & 0x3fff) === 0;
  if (!isPlain || view.getUint8(23) !== Protocol.TCP) return undefined;
  const data = tcp + (view.getUint8(tcp + 12) >> 4) * 4;
  const end = ETHERNET_BYTES + view.getUint16(16);
  return data < tcp + 20 || end < data || end > bytes.length ? undefined : { view, bytes, tcp, data, end };
}

/** Sum of the pseudo-header for a segment of `length` bytes, header included. */
export const pseudoSumOf = ({ view }: TcpFrame, length: number): number =>
  pseudoHeaderSum(view.getUint32(26), view.getUint32(30), Protocol.TCP, length);

/** Whether the checksums of the packet and of the segment are right. */
export const isIntact = (frame: TcpFrame): boolean =>
  sumWords(frame.bytes, ETHERNET_BYTES, ETHERNET_BYTES + IP_BYTES) === 0xffff &&
  finishSum(sumWords(frame.bytes, frame.tcp, frame.end, pseudoSumOf(frame, frame.end - frame.tcp))) === 0;

/** Sets the total length of the IP packet and its checksum. */
export function setIpLength(view: DataView, bytes: Uint8Array, length: number): void {
  view.setUint16(16, length);
  view.setUint16(24, 0);
  view.setUint16(24, finishSum(sumWords(bytes, ETHERNET_BYTES, ETHERNET_BYTES + IP_BYTES)));
}
