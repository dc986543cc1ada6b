import { finishSum, sumWords } from './checksum.js';
import type { Network, Offload, Receiver } from './network.js';
import { ETHERNET_BYTES, TcpFlag } from './packets.js';
import { pseudoSumOf, readTcpFrame, setIpLength } from './tcp-frames.js';

const LONGEST_FRAME = 65_536 + 64;
/** Shorter pieces are not worth their headers: no driver asks for them, but to keep the host busy. */
const LEAST_SEGMENT_BYTES = 64;

/** A network that takes finished frames only, with everything that guests like to leave undone done here: checksums, and cutting long segments. */
export class FinishingNetwork implements Network {
  readonly offloads = true;
  private readonly scratch = new Uint8Array(LONGEST_FRAME);
  private readonly piece = new Uint8Array(LONGEST_FRAME);

  constructor(private readonly network: Network) {}

  get receiver(): Receiver | undefined {
    return this.network.receiver;
  }

  set receiver(receiver: Receiver | undefined) {
    this.network.receiver = receiver;
  }

  set guest(guest: { readonly checksum: boolean; readonly segments: boolean }) {
    this.network.guest = guest;
  }

  /** Passes a frame on, in pieces when it is a long segment; one that is none in truth is dropped. */
  send(frame: Uint8Array, offload?: Offload): void {
    if (offload?.checksum === undefined || frame.length > LONGEST_FRAME) this.network.send(frame);
    else if (offload.segmentBytes) this.cut(frame, offload.segmentBytes);
    else this.finish(frame, offload.checksum);
  }

  flush(): void {
    this.network.flush?.();
  }

  close(): void {
    this.network.close();
  }

  private finish(frame: Uint8Array, { start, offset }: NonNullable<Offload['checksum']>): void {
    const finished = this.scratch.subarray(0, frame.length);
    finished.set(frame);
    const sum = finishSum(sumWords(frame, start, frame.length));
    // 0 would say that there is no checksum (UDP); it stands for the same sum as all ones.
    finished[start + offset] = (sum || 0xffff) >> 8;
    finished[start + offset + 1] = (sum || 0xffff) & 0xff;
    this.network.send(finished);
  }

  private cut(frame: Uint8Array, segmentBytes: number): void {
    const whole = readTcpFrame(frame);
    if (!whole || segmentBytes < LEAST_SEGMENT_BYTES) return;
    const { tcp, data, end } = whole;
    const sequence = whole.view.getUint32(tcp + 4);
    const identification = whole.view.getUint16(18);
    const flags = whole.view.getUint8(tcp + 13);
    const { piece } = this;
    piece.set(frame.subarray(0, data));
    const view = new DataView(piece.buffer);
    for (let at = data, number = 0; at < end; at += segmentBytes, number++) {
      const length = Math.min(segmentBytes, end - at);
      const bytes = piece.subarray(0, data + length);
      bytes.set(frame.subarray(at, at + length), data);
      view.setUint16(18, identification + number);
      setIpLength(view, bytes, data + length - ETHERNET_BYTES);
      view.setUint32(tcp + 4, sequence + at - data);
      // What concerns the beginning or the end of the whole is said in that piece only.
      view.setUint8(tcp + 13, flags & ~((at + length < end ? TcpFlag.FIN | TcpFlag.PSH : 0) | (number > 0 ? TcpFlag.CWR : 0)));
      view.setUint16(tcp + 16, 0);
      view.setUint16(tcp + 16, finishSum(sumWords(bytes, tcp, bytes.length, pseudoSumOf(whole, bytes.length - tcp))));
      this.network.send(bytes);
    }
  }
}
