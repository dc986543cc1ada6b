import { finishSum, sumWords } from '../checksum.js';
import type { Offload } from '../network.js';
import { createIpFrame, ETHERNET_BYTES, IP_BYTES, Protocol, pseudoHeaderSum } from '../packets.js';

/** A TCP segment of the guest. */
export interface Segment {
  readonly sourcePort: number;
  readonly targetPort: number;
  /** Sequence numbers as signed 32-bit numbers. */
  readonly sequence: number;
  readonly acknowledge: number;
  readonly flags: number;
  readonly window: number;
  readonly options: Uint8Array;
  readonly data: Uint8Array;
}

/** A segment for the guest. */
export interface OutgoingSegment {
  readonly sequence: number;
  readonly acknowledge: number;
  readonly flags: number;
  readonly window: number;
  /** Options are sent: our maximum segment size and, to a guest that has it, our window scale. */
  readonly options: boolean;
  readonly scale: boolean;
  readonly mss: number;
  readonly lengthBytes: number;
  readonly fill?: (target: Uint8Array) => void;
}

/** Who it is between; addresses and ports as the guest sees them. */
export interface TcpEnds {
  readonly guestAddress: number;
  readonly guestPort: number;
  readonly address: number;
  readonly port: number;
}

/** Bits that our windows are shifted by. */
export const WINDOW_SCALE = 4;
const TCP_BYTES = 20;
const Option = { END: 0, NOP: 1, MSS: 2, SCALE: 3 } as const;
/** Our maximum segment size: an Ethernet frame of ordinary length. */
const OUR_MSS = 1460;

/** Reads a TCP segment; undefined when it is cut. */
export function readSegment(payload: Uint8Array): Segment | undefined {
  if (payload.length < TCP_BYTES) return undefined;
  const view = new DataView(payload.buffer, payload.byteOffset, payload.length);
  const headerBytes = (payload[12]! >> 4) * 4;
  if (headerBytes < TCP_BYTES || headerBytes > payload.length) return undefined;
  return {
    sourcePort: view.getUint16(0),
    targetPort: view.getUint16(2),
    sequence: view.getInt32(4),
    acknowledge: view.getInt32(8),
    flags: payload[13]!,
    window: view.getUint16(14),
    options: payload.subarray(TCP_BYTES, headerBytes),
    data: payload.subarray(headerBytes),
  };
}

/** Maximum segment size and window scale, where the options of a SYN have them. */
export function readSegmentOptions(options: Uint8Array): { mss?: number; scale?: number } {
  const found: { mss?: number; scale?: number } = {};
  for (let at = 0; at < options.length && options[at] !== Option.END; ) {
    if (options[at] === Option.NOP) {
      at++;
      continue;
    }
    const length = options[at + 1] ?? 0;
    if (length < 2 || at + length > options.length) break;
    if (options[at] === Option.MSS && length === 4) found.mss = (options[at + 2]! << 8) | options[at + 3]!;
    if (options[at] === Option.SCALE && length === 3) found.scale = options[at + 2]!;
    at += length;
  }
  return found;
}

/** A segment in a frame, which is put into `room` if there is some; its checksum is left to a guest that takes frames without. */
export function createTcpFrame(
  from: Uint8Array,
  to: Uint8Array,
  ends: TcpEnds,
  segment: OutgoingSegment,
  guest: { readonly checksum: boolean; readonly segments: boolean },
  room?: Uint8Array<ArrayBuffer>,
): { readonly frame: Uint8Array; readonly offload?: Offload } {
  const options = segment.options
    ? [Option.MSS, 4, OUR_MSS >> 8, OUR_MSS & 0xff, ...(segment.scale ? [Option.NOP, Option.SCALE, 3, WINDOW_SCALE] : [])]
    : [];
  const payloadBytes = TCP_BYTES + options.length + segment.lengthBytes;
  const frame = createIpFrame({ from, to, protocol: Protocol.TCP, source: ends.address, target: ends.guestAddress, payloadBytes, room });
  const start = ETHERNET_BYTES + IP_BYTES;
  const view = new DataView(frame.buffer, frame.byteOffset + start);
  view.setUint16(0, ends.port);
  view.setUint16(2, ends.guestPort);
  view.setUint32(4, segment.sequence);
  view.setUint32(8, segment.acknowledge);
  view.setUint8(12, ((TCP_BYTES + options.length) / 4) << 4);
  view.setUint8(13, segment.flags);
  view.setUint16(14, segment.window);
  view.setUint32(16, 0);
  frame.set(options, start + TCP_BYTES);
  segment.fill?.(frame.subarray(start + TCP_BYTES + options.length));
  const pseudo = pseudoHeaderSum(ends.address, ends.guestAddress, Protocol.TCP, payloadBytes);
  if (!guest.checksum) {
    view.setUint16(16, finishSum(sumWords(frame, start, frame.length, pseudo)));
    return { frame };
  }
  view.setUint16(16, pseudo);
  const long = segment.lengthBytes > segment.mss;
  return { frame, offload: { checksum: { start, offset: 16 }, ...(long ? { segmentBytes: segment.mss } : {}) } };
}

/** A reset that answers a segment of no connection. */
export function resetFor(segment: Segment): OutgoingSegment {
  const length = segment.data.length + (segment.flags & 2 ? 1 : 0) + (segment.flags & 1 ? 1 : 0);
  const acknowledged = (segment.flags & 16) !== 0;
  return {
    sequence: acknowledged ? segment.acknowledge >>> 0 : 0,
    acknowledge: acknowledged ? 0 : (segment.sequence + length) >>> 0,
    flags: acknowledged ? 4 : 4 | 16,
    window: 0,
    options: false,
    scale: false,
    mss: OUR_MSS,
    lengthBytes: 0,
  };
}
