import { ByteQueue } from '../byte-queue.js';
import type { VsockConnection, VsockPeer } from './backend.js';
import type { VsockPacket } from './packet.js';
import { VsockOperation, VsockShutdown } from './registers.js';

/** Bytes from the guest that may be under way to the host's end: what the guest is told as our buffer. */
const BUFFER_BYTES = 0x4_0000;
/** Bytes for the guest that wait for its credit. */
const WAITING_BYTES = 0x2_0000;

/** What a connection asks of its device. */
export interface VsockOwner {
  /** A packet without bytes is to go to the guest. */
  tell(connection: Connection, operation: number, flags?: number): void;
  /** There are bytes for the guest. */
  ready(connection: Connection): void;
  /** The connection is no more. */
  drop(connection: Connection): void;
}

/** A stream between a port of the guest and one of the host, with its credit in both directions ("VIRTIO", Buffer Space Management). */
export class Connection implements VsockConnection {
  peer: VsockPeer | undefined;
  /** `asking`: an answer is awaited, from whichever side. */
  state: 'asking' | 'open' | 'closed' = 'asking';
  readonly waiting = new ByteQueue(WAITING_BYTES);
  /** The guest's buffer, and how much of what we sent it has passed on. */
  private guestBuffer = 0;
  private guestForwarded = 0;
  private sent = 0;
  private received = 0;
  private forwarded = 0;
  private told = 0;
  private full = false;
  /** Ends that are to be told when nothing waits any more: flags of SHUTDOWN. */
  private ending = 0;
  private guestEnded = 0;

  constructor(
    private readonly owner: VsockOwner,
    readonly guestPort: number,
    readonly hostPort: number,
  ) {}

  // For the host.

  send(bytes: Uint8Array): number {
    if (this.state === 'closed' || this.ending !== 0) return bytes.length;
    let done = 0;
    // What the guest has room for goes out at once, and makes room for more.
    for (let taken = 1; done < bytes.length && taken > 0; done += taken) {
      taken = this.waiting.push(bytes.subarray(done));
      if (taken > 0) this.owner.ready(this);
    }
    this.full = done < bytes.length;
    return done;
  }

  consumed(bytes: number): void {
    this.forwarded = (this.forwarded + bytes) >>> 0;
    if (this.state === 'open' && (this.forwarded - this.told) >>> 0 >= BUFFER_BYTES / 4) this.owner.tell(this, VsockOperation.CREDIT_UPDATE);
  }

  end(): void {
    this.finish(VsockShutdown.SEND);
  }

  close(): void {
    if (this.state === 'asking') this.reset();
    else this.finish(VsockShutdown.BOTH);
  }

  reset(): void {
    if (this.state === 'closed') return;
    this.owner.tell(this, VsockOperation.RST);
    this.discard();
  }

  // For the device.

  /** Bytes that the guest has room for. */
  get credit(): number {
    return Math.max(0, this.guestBuffer - ((this.sent - this.guestForwarded) >>> 0));
  }

  /** Notes what a packet says of the guest's buffer; there may be room for what waits. */
  heard({ buffer, forwarded }: VsockPacket): void {
    this.guestBuffer = buffer;
    this.guestForwarded = forwarded;
    if (this.waiting.length > 0 && this.credit > 0) this.owner.ready(this);
  }

  /** Our buffer into a header that goes out. */
  mark(packet: VsockPacket): void {
    packet.buffer = BUFFER_BYTES;
    packet.forwarded = this.told = this.forwarded;
  }

  /** So many bytes have gone out. */
  passed(bytes: number): void {
    this.sent = (this.sent + bytes) >>> 0;
    if (this.full && this.waiting.length < WAITING_BYTES / 2) {
      this.full = false;
      this.peer?.room?.();
    }
    if (this.waiting.length === 0 && this.ending !== 0) this.owner.tell(this, VsockOperation.SHUTDOWN, this.ending);
  }

  /** Bytes come from the guest; false: more than our buffer has room for. */
  take(length: number): boolean {
    this.received = (this.received + length) >>> 0;
    return (this.received - this.forwarded) >>> 0 <= BUFFER_BYTES;
  }

  /** The guest will not send, or not receive any more. */
  shut(flags: number): void {
    const before = this.guestEnded;
    this.guestEnded |= flags & VsockShutdown.BOTH;
    if ((this.guestEnded & ~before & VsockShutdown.SEND) !== 0) this.peer?.end();
    if (this.guestEnded === VsockShutdown.BOTH) this.reset();
  }

  /** Over, without a word to the guest. */
  discard(): void {
    if (this.state === 'closed') return;
    this.state = 'closed';
    this.waiting.clear();
    this.owner.drop(this);
    this.peer?.close();
  }

  private finish(flags: number): void {
    if (this.state === 'closed' || (this.ending & flags) === flags) return;
    this.ending |= flags;
    if (this.waiting.length === 0 && this.state === 'open') this.owner.tell(this, VsockOperation.SHUTDOWN, this.ending);
  }
}
