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
  /** A frame of which a part has come, with its length. */
  readonly #held = new Uint8Array(LENGTH_BYTES + LONGEST_FRAME);
  readonly #heldView = new DataView(this.#held.buffer);
  #heldBytes = 0;
  readonly #batch = new Uint8Array(BATCH_BYTES);
  readonly #batchView = new DataView(this.#batch.buffer);
  #filled = 0;

  /** Plugs a stream in, in place of the one before. */
  attach(stream: LinkStream): void {
    this.#stream?.close();
    this.#stream = stream;
    this.#heldBytes = 0;
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

  /** Bytes from the stream, good during the call. Throws `NetworkError` (`bad-peer`) for a length that no frame has; the link is cut then. */
  take(bytes: Uint8Array): void {
    let at = this.#heldBytes > 0 ? this.#completeHeld(bytes) : 0;
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    while (bytes.length - at >= LENGTH_BYTES) {
      const end = at + LENGTH_BYTES + this.#checked(view.getUint32(at));
      if (end > bytes.length) break;
      this.#deliver(bytes.subarray(at + LENGTH_BYTES, end));
      at = end;
    }
    this.#joined.flush();
    if (at < bytes.length) this.#hold(bytes.subarray(at));
  }

  /** Takes what the held frame lacks; returns how much of the bytes that was. */
  #completeHeld(bytes: Uint8Array): number {
    const before = this.#heldBytes;
    if (before < LENGTH_BYTES) this.#hold(bytes.subarray(0, LENGTH_BYTES - before));
    if (this.#heldBytes < LENGTH_BYTES) return bytes.length;
    const whole = LENGTH_BYTES + this.#checked(this.#heldView.getUint32(0));
    const had = this.#heldBytes - before;
    this.#hold(bytes.subarray(had, had + whole - this.#heldBytes));
    if (this.#heldBytes < whole) return bytes.length;
    this.#heldBytes = 0;
    this.#deliver(this.#held.subarray(LENGTH_BYTES, whole));
    return whole - before;
  }

  #hold(bytes: Uint8Array): void {
    this.#held.set(bytes, this.#heldBytes);
    this.#heldBytes += bytes.length;
  }

  #checked(length: number): number {
    if (length <= LONGEST_FRAME) return length;
    this.#stream?.close();
    this.detach();
    throw new NetworkError('bad-peer', `socket: the peer announces a frame of ${length} bytes; is it really a -netdev socket?`);
  }

  #deliver(frame: Uint8Array): void {
    if (frame.length === 0) return;
    if (this.guest.checksum && this.guest.segments) this.#joined.take(frame);
    else this.receiver?.(frame);
  }

  close(): void {
    this.#stream?.close();
    this.detach();
  }
}
