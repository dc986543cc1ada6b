import { TcpFlag } from '../packets.js';
import type { TcpEvents, TcpSocket } from './host.js';
import { SendBuffer } from './send-buffer.js';
import { type OutgoingSegment, readSegmentOptions, type Segment, type TcpEnds, WINDOW_SCALE } from './tcp-segment.js';

/** What a connection asks of the network that it lives in. */
export interface TcpPeer {
  /** Sends a segment to the guest. */
  transmit(connection: TcpConnection, segment: OutgoingSegment): void;
  /** Longest payload of one segment, given the guest's maximum segment size. */
  longest(mss: number): number;
  /** Bytes of either direction that may wait in memory for one connection: the less, the more there are. */
  readonly mostWaiting: number;
  after(milliseconds: number, call: () => void): () => void;
  /** The connection is over. */
  gone(connection: TcpConnection): void;
}

type State = 'connecting' | 'syn-sent' | 'syn-received' | 'open' | 'over';

/** Bytes of either direction that may wait in memory for one of few connections. */
export const MOST_WAITING = 512 * 1024;
/** Bytes under way to the guest: what its queues can hold. */
const MOST_UNDERWAY = 256 * 1024;
const FIRST_TIMEOUT_MS = 1000;
const LONGEST_TIMEOUT_MS = 32_000;
const MOST_TIMEOUTS = 8;
const PATIENT_TIMEOUTS = 4;
/** What the guest sends is acknowledged at once when it is as much as this, else with what is sent to it, or later by once to twice this time. */
const PROMPT_BYTES = 2 * 1460;
const ACKNOWLEDGE_MS = 20;
/** How long a guest may keep a connection half open that the host has closed (as FIN-WAIT-2 of Linux). */
const LINGER_MS = 60_000;

/** `a - b` of sequence numbers. */
const distance = (a: number, b: number): number => (a - b) | 0;

/**
 * The network's side of one TCP connection with the guest ("RFC 9293"), joined to a connection of the host. The link to the guest loses frames only when the
 * guest has no buffers left, so that there is retransmission but no congestion window.
 */
export class TcpConnection implements TcpEvents {
  socket: TcpSocket | undefined;
  #state: State;
  readonly #out = new SendBuffer();
  /** Oldest byte that is not acknowledged, next to send, and end of what was ever sent. */
  #unacknowledged: number;
  #next: number;
  #sentEnd: number;
  /** Next byte expected from the guest. */
  #expected = 0;
  #guestWindow = 0;
  #guestScale = 0;
  #scaling = false;
  #mss = 536;
  #duplicates = 0;
  #timeouts = 0;
  #cancelTimer: (() => void) | undefined;
  /** The host will send no more; the FIN for that has been sent; the guest has sent its own. */
  #hostEnded = false;
  #hostGone = false;
  #finSent = false;
  #guestEnded = false;
  #paused = false;
  #lastWindow = 0;
  /** Bytes of the guest that have not been acknowledged, whether a timer will do that, and whether others were acknowledged since it was set. */
  #owed = 0;
  #owing = false;
  #acknowledged = false;

  constructor(
    readonly ends: TcpEnds,
    private readonly peer: TcpPeer,
    firstSequence: number,
    incoming: boolean,
  ) {
    this.#unacknowledged = this.#next = this.#sentEnd = firstSequence | 0;
    this.#state = incoming ? 'syn-sent' : 'connecting';
  }

  /** The host asks for a connection to the guest: sends SYN. */
  open(): void {
    this.#sendControl(TcpFlag.SYN);
  }

  /** A segment of the guest. */
  receive(segment: Segment): void {
    if (segment.flags & TcpFlag.RST) return this.#reset(segment);
    switch (this.#state) {
      case 'connecting':
        if (segment.flags & TcpFlag.SYN && !(segment.flags & TcpFlag.ACK)) this.#acceptSyn(segment);
        return;
      case 'syn-sent':
        return this.#receiveSynAck(segment);
      case 'syn-received':
      case 'open':
        return this.#receiveOpen(segment);
      case 'over':
        return;
    }
  }

  connected(): void {
    if (this.#state !== 'connecting') return;
    this.#state = 'syn-received';
    this.#sendControl(TcpFlag.SYN | TcpFlag.ACK);
  }

  data(bytes: Uint8Array): void {
    if (this.#state === 'over' || this.#hostEnded) return;
    this.#out.push(bytes);
    if (this.#out.length > this.peer.mostWaiting && !this.#paused) {
      this.#paused = true;
      this.socket?.pause();
    }
    this.#pump();
  }

  ended(): void {
    this.#hostEnded = true;
    this.#pump();
  }

  drained(): void {
    // A window that was shut opens again only if the guest hears of it.
    if (this.#state === 'open' && this.#lastWindow < this.peer.mostWaiting / 4 && this.#window > this.peer.mostWaiting / 2) this.#acknowledge();
  }

  closed(): void {
    if (this.#state === 'over') return;
    this.#hostGone = true;
    if (this.#hostEnded && this.#state === 'open') this.peer.after(LINGER_MS, () => this.abort());
    else this.abort();
  }

  /** Ends the connection on both sides at once. */
  abort(): void {
    if (this.#state === 'over') return;
    this.#transmit(TcpFlag.RST | TcpFlag.ACK, this.#next, 0);
    this.#finish();
    this.socket?.destroy();
  }

  get #window(): number {
    return Math.max(0, this.peer.mostWaiting - (this.socket?.waitingBytes ?? 0));
  }

  #reset({ sequence, acknowledge, flags }: Segment): void {
    if (this.#state === 'syn-sent' && (!(flags & TcpFlag.ACK) || acknowledge !== this.#next)) return;
    // A reset counts only inside of the window (RFC 5961 asks for the exact byte; a guest that resets after data in flight must be heard, too).
    if (this.#state === 'open' && (distance(sequence, this.#expected) < 0 || distance(sequence, this.#expected) > MOST_WAITING)) return;
    this.#finish();
    this.socket?.destroy();
  }

  #acceptSyn(segment: Segment): void {
    this.#expected = (segment.sequence + 1) | 0;
    this.#learnOptions(segment);
    this.#guestWindow = segment.window;
  }

  #receiveSynAck(segment: Segment): void {
    if (!(segment.flags & TcpFlag.SYN) || !(segment.flags & TcpFlag.ACK) || segment.acknowledge !== this.#next) return;
    this.#acceptSyn(segment);
    this.#unacknowledged = segment.acknowledge;
    this.#state = 'open';
    this.#stopTimer();
    this.#acknowledge();
    this.socket?.resume();
    this.#pump();
  }

  #receiveOpen(segment: Segment): void {
    if (segment.flags & TcpFlag.SYN) {
      // Ours was lost, or this is a late copy of the guest's.
      if (this.#state === 'syn-received') this.#resend();
      else this.#acknowledge();
      return;
    }
    if (!(segment.flags & TcpFlag.ACK) || distance(segment.acknowledge, this.#sentEnd) > 0) return;
    const heard = this.#takeAcknowledgement(segment);
    if (this.#state === 'syn-received') {
      if (!heard) return;
      this.#state = 'open';
      this.socket?.resume();
    }
    this.#takeData(segment);
    if (this.#isOver) return;
    if (this.#isDone()) {
      this.#finish();
      return;
    }
    this.#pump();
  }

  /** Returns whether anything new was acknowledged. */
  #takeAcknowledgement(segment: Segment): boolean {
    const heard = distance(segment.acknowledge, this.#unacknowledged);
    const window = segment.window << this.#guestScale;
    if (heard > 0) {
      const control = (this.#state === 'syn-received' ? 1 : 0) + (this.#finSent && segment.acknowledge === this.#sentEnd ? 1 : 0);
      this.#out.drop(heard - control);
      this.#unacknowledged = segment.acknowledge;
      if (distance(this.#next, this.#unacknowledged) < 0) this.#next = this.#unacknowledged;
      this.#duplicates = 0;
      this.#timeouts = 0;
      this.#stopTimer();
      if (this.#paused && this.#out.length <= this.peer.mostWaiting / 2) {
        this.#paused = false;
        this.socket?.resume();
      }
    } else if (heard === 0 && segment.data.length === 0 && window === this.#guestWindow && this.#next !== this.#unacknowledged) {
      if (++this.#duplicates === 3) this.#resend();
    }
    this.#guestWindow = window;
    // A guest that answers with a shut window is alive.
    if (window === 0) this.#timeouts = Math.min(this.#timeouts, PATIENT_TIMEOUTS);
    return heard > 0;
  }

  #takeData(segment: Segment): void {
    const fin = (segment.flags & TcpFlag.FIN) !== 0;
    if (segment.data.length === 0 && !fin) return;
    const old = distance(this.#expected, segment.sequence);
    if (this.#guestEnded || old < 0 || old > segment.data.length) return this.#acknowledge();
    const fresh = segment.data.subarray(old);
    if (fresh.length > 0) {
      if (this.#hostGone) return this.abort();
      if (this.socket && this.socket.waitingBytes > 2 * MOST_WAITING) return this.#acknowledge();
      this.#expected = (this.#expected + fresh.length) | 0;
      this.socket?.write(fresh.slice());
    }
    if (fin) {
      this.#expected = (this.#expected + 1) | 0;
      this.#guestEnded = true;
      this.socket?.end();
    }
    this.#owed += fresh.length;
    // What came twice, or is the last, is answered at once.
    if (fin || fresh.length === 0 || this.#owed >= PROMPT_BYTES) this.#acknowledge();
    else this.#acknowledgeSoon();
  }

  #acknowledgeSoon(): void {
    if (this.#owing) return;
    this.#owing = true;
    this.#acknowledged = false;
    this.peer.after(ACKNOWLEDGE_MS, () => {
      this.#owing = false;
      if (this.#owed === 0 || this.#state !== 'open') return;
      // What is owed now came after that for which the timer was set, and may have an answer, too.
      if (this.#acknowledged) this.#acknowledgeSoon();
      else this.#acknowledge();
    });
  }

  get #isOver(): boolean {
    return this.#state === 'over';
  }

  #isDone(): boolean {
    return this.#guestEnded && this.#finSent && this.#unacknowledged === this.#sentEnd;
  }

  /** Sends what the guest's window takes. */
  #pump(): void {
    if (this.#state !== 'open') return;
    const limit = Math.min(this.#guestWindow, MOST_UNDERWAY);
    const longest = this.peer.longest(this.#mss);
    for (;;) {
      const offset = distance(this.#next, this.#unacknowledged);
      const length = Math.min(this.#out.length - offset, longest, limit - offset);
      if (length <= 0 || this.#finUnderway) break;
      const last = offset + length === this.#out.length;
      this.#transmit(TcpFlag.ACK | (last ? TcpFlag.PSH : 0), this.#next, length, offset);
      this.#advance(length);
    }
    if (this.#hostEnded && !this.#finUnderway && distance(this.#next, this.#unacknowledged) === this.#out.length) {
      this.#finSent = true;
      this.#transmit(TcpFlag.FIN | TcpFlag.ACK, this.#next, 0);
      this.#advance(1);
    }
    // A shut window is asked about again and again, in case the news of its opening is lost.
    if (this.#next !== this.#unacknowledged || this.#out.length > 0) this.#startTimer();
  }

  /** Whether everything up to a FIN has been sent since the last loss. */
  get #finUnderway(): boolean {
    return this.#finSent && this.#next === this.#sentEnd;
  }

  #advance(count: number): void {
    this.#next = (this.#next + count) | 0;
    if (distance(this.#next, this.#sentEnd) > 0) this.#sentEnd = this.#next;
  }

  #sendControl(flags: number): void {
    this.#transmit(flags, this.#unacknowledged, 0);
    if (this.#next === this.#unacknowledged) this.#advance(1);
    this.#startTimer();
  }

  #acknowledge(): void {
    this.#transmit(TcpFlag.ACK, this.#next, 0);
  }

  #transmit(flags: number, sequence: number, lengthBytes: number, offset = 0): void {
    const syn = (flags & TcpFlag.SYN) !== 0;
    const scale = syn ? this.#scaling || this.#state === 'syn-sent' : this.#scaling;
    this.#lastWindow = this.#window;
    if (flags & TcpFlag.ACK) {
      this.#owed = 0;
      this.#acknowledged = true;
    }
    this.peer.transmit(this, {
      sequence: sequence >>> 0,
      acknowledge: flags & TcpFlag.ACK ? this.#expected >>> 0 : 0,
      flags,
      window: Math.min(0xffff, syn || !scale ? this.#lastWindow : this.#lastWindow >> WINDOW_SCALE),
      options: syn,
      scale,
      mss: this.#mss,
      lengthBytes,
      ...(lengthBytes > 0 ? { fill: (target: Uint8Array) => this.#out.copy(offset, target) } : {}),
    });
  }

  #resend(): void {
    if (this.#state === 'syn-sent') this.#transmit(TcpFlag.SYN, this.#unacknowledged, 0);
    else if (this.#state === 'syn-received') this.#transmit(TcpFlag.SYN | TcpFlag.ACK, this.#unacknowledged, 0);
    else if (this.#state === 'open') {
      this.#next = this.#unacknowledged;
      if (this.#guestWindow === 0 && this.#out.length > 0) {
        // One byte past the window makes the guest say how large it is.
        this.#transmit(TcpFlag.ACK, this.#next, 1);
        this.#advance(1);
      } else this.#pump();
    }
    this.#startTimer();
  }

  #startTimer(): void {
    if (this.#cancelTimer || this.#state === 'over') return;
    const wait = Math.min(FIRST_TIMEOUT_MS * 2 ** this.#timeouts, LONGEST_TIMEOUT_MS);
    this.#cancelTimer = this.peer.after(wait, () => {
      this.#cancelTimer = undefined;
      if (this.#state !== 'over' && ++this.#timeouts > MOST_TIMEOUTS) this.abort();
      else this.#resend();
    });
  }

  #stopTimer(): void {
    this.#cancelTimer?.();
    this.#cancelTimer = undefined;
  }

  #learnOptions(segment: Segment): void {
    const { mss, scale } = readSegmentOptions(segment.options);
    this.#mss = Math.max(64, Math.min(mss ?? 536, 1460));
    this.#scaling = scale !== undefined;
    this.#guestScale = Math.min(scale ?? 0, 14);
  }

  #finish(): void {
    this.#state = 'over';
    this.#stopTimer();
    this.peer.gone(this);
  }
}
