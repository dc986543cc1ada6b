import { NetworkError } from './errors.js';
import { JoinedSegments } from './joined-segments.js';
import type { Network, Receiver } from './network.js';

/** A stream of bytes to another machine. */
export interface LinkStream {
  write(bytes: Uint8Array): void;
  /** Bytes that were written and wait in memory. */
  readonly waitingBytes: number;
  close(): void;
}

const LENGTH_BYTES = 4;
const LONGEST_FRAME = 65_536 + 64;
/** Frames that follow each other are written at once, up to so many bytes. */
const BATCH_BYTES = 0x2_0000;
/** What may wait for a slow peer; more is lost, as on a wire. */
const MOST_WAITING = 4 * 2 ** 20;

/**
 * A cable to another machine over a stream: each frame follows its length in four bytes, highest first, as QEMU's `-netdev socket` does it.
 * The caller gives what arrives to `take`.
 */
export class SocketLink implements Network {
  readonly offloads = false;
  receiver: Receiver | undefined;
  /** What the device takes: long segments are made of those that arrive together. */
  guest = { checksum: false, segments: false };
  readonly #joined = new JoinedSegments((frame, offload) => this.receiver?.(frame, offload));
  #stream: LinkStream | undefined;
  #held = new Uint8Array(0);
  readonly #batch = new Uint8Array(BATCH_BYTES);
  readonly #batchView = new DataView(this.#batch.buffer);
  #filled = 0;

  /** Plugs a stream in, in place of the one before. */
  attach(stream: LinkStream): void {
    this.#stream?.close();
    this.#stream = stream;
    this.#held = new Uint8Array(0);
    this.#filled = 0;
  }

  /** The stream has ended. */
  detach(): void {
    this.#stream = undefined;
  }

  send(frame: Uint8Array): void {
    if (!this.#stream || this.#stream.waitingBytes > MOST_WAITING || frame.length > LONGEST_FRAME) return;
    if (this.#filled + LENGTH_BYTES + frame.length > BATCH_BYTES) this.flush();
    // Whoever does not say where a batch ends has it written when this turn ends.
    if (this.#filled === 0) queueMicrotask(() => this.flush());
    this.#batchView.setUint32(this.#filled, frame.length);
    this.#batch.set(frame, this.#filled + LENGTH_BYTES);
    this.#filled += LENGTH_BYTES + frame.length;
  }

  flush(): void {
    if (this.#filled > 0) this.#stream?.write(this.#batch.slice(0, this.#filled));
    this.#filled = 0;
  }

  /** Bytes from the stream. Throws `NetworkError` (`bad-peer`) for a length that no frame has; the link is cut then. */
  take(bytes: Uint8Array): void {
    let rest = bytes;
    if (this.#held.length > 0) {
      rest = new Uint8Array(this.#held.length + bytes.length);
      rest.set(this.#held);
      rest.set(bytes, this.#held.length);
    }
    while (rest.length >= LENGTH_BYTES) {
      const length = new DataView(rest.buffer, rest.byteOffset).getUint32(0);
      if (length > LONGEST_FRAME) {
        this.#stream?.close();
        this.detach();
        throw new NetworkError('bad-peer', `socket: the peer announces a frame of ${length} bytes; is it really a -netdev socket?`);
      }
      if (rest.length < LENGTH_BYTES + length) break;
      if (length > 0) this.#deliver(rest.subarray(LENGTH_BYTES, LENGTH_BYTES + length));
      rest = rest.subarray(LENGTH_BYTES + length);
    }
    this.#joined.flush();
    this.#held = rest.slice();
  }

  #deliver(frame: Uint8Array): void {
    if (this.guest.checksum && this.guest.segments) this.#joined.take(frame);
    else this.receiver?.(frame);
  }

  close(): void {
    this.#stream?.close();
    this.detach();
  }
}
