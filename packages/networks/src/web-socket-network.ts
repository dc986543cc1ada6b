import { JoinedSegments } from './joined-segments.js';
import type { Network, Receiver } from './network.js';

/** What is used of a WebSocket: that of a browser, or of the library `ws`. */
export interface FrameSocket {
  binaryType: string;
  readonly bufferedAmount: number;
  onopen: ((event: never) => void) | null;
  onmessage: ((event: never) => void) | null;
  onclose: ((event: never) => void) | null;
  onerror: ((event: never) => void) | null;
  send(data: Uint8Array<ArrayBuffer> | string): void;
  close(): void;
}

/** How a network behind a WebSocket is reached. */
export interface WebSocketNetworkOptions {
  /** Begins to open the WebSocket; called again after it was lost. */
  readonly connect: () => FrameSocket;
  /** Calls back after so many milliseconds; the result cancels that. */
  readonly after: (milliseconds: number, call: () => void) => () => void;
  /** Told when the relay can be reached, and when it is lost. */
  readonly onState?: (open: boolean) => void;
}

const SHORTEST_FRAME = 14;
const LONGEST_FRAME = 65_536 + 64;
/** What may wait for a slow relay; more is lost, as on a wire. */
const MOST_WAITING = 4 * 2 ** 20;
const FIRST_PAUSE_MS = 250;
const LONGEST_PAUSE_MS = 8000;
/** Relays ask whether anybody is there by a text that begins so, and want the rest of it back. */
const PING = 'ping:';

/**
 * A network behind a WebSocket relay: each binary message is an Ethernet frame, as relays for emulators in web pages have it. A relay that is away is asked for again
 * and again; frames are lost meanwhile.
 */
export class WebSocketNetwork implements Network {
  readonly offloads = false;
  receiver: Receiver | undefined;
  guest = { checksum: false, segments: false };
  readonly #joined = new JoinedSegments((frame, offload) => this.receiver?.(frame, offload));
  #socket: FrameSocket | undefined;
  #isOpen = false;
  #isClosed = false;
  #collecting = false;
  #pauseMs = FIRST_PAUSE_MS;
  #cancel: (() => void) | undefined;

  constructor(private readonly options: WebSocketNetworkOptions) {
    this.#connect();
  }

  /** Whether the relay can be reached now. */
  get isOpen(): boolean {
    return this.#isOpen;
  }

  send(frame: Uint8Array): void {
    if (!this.#isOpen || !this.#socket || this.#socket.bufferedAmount > MOST_WAITING) return;
    // The bytes are the guest's, and good during this call only.
    this.#socket.send(frame.slice());
  }

  close(): void {
    this.#isClosed = true;
    this.#cancel?.();
    this.#socket?.close();
    this.#socket = undefined;
    this.#isOpen = false;
  }

  #connect(): void {
    const socket = this.options.connect();
    this.#socket = socket;
    socket.binaryType = 'arraybuffer';
    socket.onopen = () => {
      this.#isOpen = true;
      this.#pauseMs = FIRST_PAUSE_MS;
      this.options.onState?.(true);
    };
    socket.onmessage = ({ data }: { readonly data: unknown }) => this.#take(data);
    // What went wrong is said by 'close', which follows.
    socket.onerror = () => {};
    socket.onclose = () => {
      if (this.#socket !== socket) return;
      this.#lost();
      if (this.#isClosed) return;
      this.#cancel = this.options.after(this.#pauseMs, () => this.#connect());
      this.#pauseMs = Math.min(LONGEST_PAUSE_MS, 2 * this.#pauseMs);
    };
  }

  #lost(): void {
    const was = this.#isOpen;
    this.#socket = undefined;
    this.#isOpen = false;
    if (was) this.options.onState?.(false);
  }

  #take(data: unknown): void {
    if (typeof data === 'string') {
      if (data.startsWith(PING)) this.#socket?.send(`pong:${data.slice(PING.length, 100)}`);
      return;
    }
    if (!(data instanceof ArrayBuffer) || data.byteLength < SHORTEST_FRAME || data.byteLength > LONGEST_FRAME) return;
    const frame = new Uint8Array(data);
    if (!this.guest.checksum || !this.guest.segments) return this.receiver?.(frame);
    this.#joined.take(frame);
    if (this.#collecting) return;
    // Messages of one turn of the host are delivered together.
    this.#collecting = true;
    queueMicrotask(() => {
      this.#collecting = false;
      this.#joined.flush();
    });
  }
}
