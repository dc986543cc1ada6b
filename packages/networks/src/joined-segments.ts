import type { Offload } from './network.js';
import { ETHERNET_BYTES, TcpFlag } from './packets.js';
import { isIntact, pseudoSumOf, readTcpFrame, setIpLength, type TcpFrame } from './tcp-frames.js';

const LONGEST_PACKET = 65_535;
/** The first bytes of the options when they are a timestamp, padded as everybody does it ("RFC 7323", appendix A). */
const TIMESTAMP_OPTION = 0x0101080a;

/**
 * Joins TCP segments that follow each other into one long segment, for guests that take such: frames that came together cost the guest one interrupt and one
 * pass through its network stack. Of acknowledgements that came together, one for all is passed on. Segments that are damaged, or say more than that there is data, go on as they came.
 */
export class JoinedSegments {
  private readonly bytes = new Uint8Array(ETHERNET_BYTES + LONGEST_PACKET);
  private readonly view = new DataView(this.bytes.buffer);
  /** Bytes of the frame that is being joined, 0 for none; how many segments are in it, and the data bytes of the first. */
  private length = 0;
  private count = 0;
  private segmentBytes = 0;
  private tcp = 0;
  private data = 0;

  constructor(private readonly deliver: (frame: Uint8Array, offload?: Offload) => void) {}

  /** Takes a frame; it may be kept until `flush`. */
  take(bytes: Uint8Array): void {
    const frame = readTcpFrame(bytes);
    const pure = frame !== undefined && isPureAcknowledgement(frame);
    const joinable = frame !== undefined && (pure || isJoinable(frame)) && isIntact(frame);
    if (joinable && pure && this.isOvertakenBy(frame)) this.bytes.set(frame.bytes.subarray(0, frame.end));
    else if (joinable && this.length > 0 && this.continues(frame)) this.append(frame);
    else {
      this.flush();
      if (joinable) this.begin(frame);
      else this.deliver(bytes);
    }
  }

  /** Nothing more comes for now. */
  flush(): void {
    const { length, count, bytes, view, tcp, segmentBytes } = this;
    if (length === 0) return;
    this.length = 0;
    const frame = bytes.subarray(0, length);
    if (count === 1) {
      this.deliver(frame);
      return;
    }
    setIpLength(view, frame, length - ETHERNET_BYTES);
    view.setUint16(tcp + 16, pseudoSumOf({ view, bytes, tcp, data: 0, end: 0 }, length - tcp));
    this.deliver(frame, { checksum: { start: tcp, offset: 16 }, segmentBytes });
  }

  private begin({ bytes, tcp, data, end, view }: TcpFrame): void {
    this.bytes.set(bytes.subarray(0, end));
    this.length = end;
    this.count = 1;
    this.segmentBytes = end - data;
    this.tcp = tcp;
    this.data = data;
    if (view.getUint8(tcp + 13) & TcpFlag.PSH) this.flush();
  }

  private append({ bytes, tcp, data, end, view }: TcpFrame): void {
    this.bytes.set(bytes.subarray(data, end), this.length);
    this.length += end - data;
    this.count++;
    const pushed = view.getUint8(tcp + 13) & TcpFlag.PSH;
    this.bytes[this.tcp + 13]! |= pushed;
    // A shorter segment is the last: all before it have one length.
    if (pushed || end - data < this.segmentBytes) this.flush();
  }

  /** Whether a segment is the next of what is being joined: same ends and same header but for sequence, window, flags and checksums. */
  private continues({ bytes, tcp, data, end, view }: TcpFrame): boolean {
    const { length, segmentBytes } = this;
    if (segmentBytes === 0 || end === data || data !== this.data || end - data > segmentBytes || length + end - data > this.bytes.length)
      return false;
    if (view.getUint32(tcp + 4) !== (this.view.getUint32(tcp + 4) + length - data) >>> 0) return false;
    const same = (from: number, to: number): boolean => this.isSame(bytes, from, to);
    return same(0, 16) && same(22, 24) && same(26, tcp + 4) && same(tcp + 8, tcp + 13) && same(tcp + 14, tcp + 16) && same(tcp + 20, data);
  }

  /** Whether what is held is a pure acknowledgement, and a frame is one of the same connection that acknowledges more. Those for the same byte ask for a repetition. */
  private isOvertakenBy({ bytes, tcp, data, view }: TcpFrame): boolean {
    if (this.length === 0 || this.segmentBytes > 0 || data !== this.data) return false;
    const further = (view.getUint32(tcp + 8) - this.view.getUint32(tcp + 8)) | 0;
    return further > 0 && this.isSame(bytes, 0, 16) && this.isSame(bytes, 22, 24) && this.isSame(bytes, 26, tcp + 8);
  }

  private isSame(bytes: Uint8Array, from: number, to: number): boolean {
    for (let i = from; i < to; i++) if (bytes[i] !== this.bytes[i]) return false;
    return true;
  }
}

/** No data, no flag but ACK, and no options but a timestamp: nothing is in it that a later one of the connection does not say as well. */
function isPureAcknowledgement({ view, tcp, data, end }: TcpFrame): boolean {
  if (end > data || view.getUint8(tcp + 13) !== TcpFlag.ACK) return false;
  return data === tcp + 20 || (data === tcp + 32 && view.getUint32(tcp + 20) === TIMESTAMP_OPTION);
}

/** Data, and no flag but ACK and PSH. */
const isJoinable = ({ view, tcp, data, end }: TcpFrame): boolean => end > data && (view.getUint8(tcp + 13) & ~TcpFlag.PSH) === TcpFlag.ACK;
