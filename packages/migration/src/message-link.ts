import type { Link } from './link.js';

/** A frame: data, or how many bytes of data the other side has taken. */
const DATA = 0;
const TAKEN = 1;
const PIECE_BYTES = 256 << 10;
/** Bytes that may be on their way: the other side need not hold more. */
const WINDOW_BYTES = 4 << 20;

/** What carries whole messages, in order: a WebSocket, a MessagePort. */
export interface MessageCarrier {
  send(message: Uint8Array): void;
  close(): void;
}

/** A line over messages, and what its owner tells it of them. */
export interface MessageLink extends Link {
  /** A message has come. */
  receive(message: Uint8Array): void;
  /** The other side has closed, or the carrier has failed. */
  end(reason?: string): void;
}

function frame(kind: number, data: Uint8Array): Uint8Array {
  const message = new Uint8Array(1 + data.length);
  message[0] = kind;
  message.set(data, 1);
  return message;
}

/** A line of bytes over messages. Neither side holds more than 4 MiB of what the other has not taken: messages have no back-pressure of their own. */
class FramedLink implements MessageLink {
  private readonly queue: Uint8Array[] = [];
  private held = 0;
  private underway = 0;
  private taken = 0;
  private ended: string | undefined;
  private changed: () => void = () => {};

  constructor(private readonly carrier: MessageCarrier) {}

  readonly sink = { write: (bytes: Uint8Array): Promise<void> => this.write(bytes) };
  readonly source = { read: (length: number): Promise<Uint8Array> => this.read(length) };

  receive(message: Uint8Array): void {
    if (this.ended !== undefined) return;
    const data = message.slice(1);
    if (message[0] === DATA && this.held + data.length <= WINDOW_BYTES) {
      this.queue.push(data);
      this.held += data.length;
    } else if (message[0] === TAKEN && data.length === 4) this.underway -= new DataView(data.buffer).getUint32(0, true);
    else this.close('the other side does not keep to the protocol');
    this.changed();
  }

  end(reason = 'the other side has closed the line'): void {
    this.ended ??= reason;
    this.changed();
  }

  readonly close = (reason = 'the line is closed'): void => {
    if (this.ended !== undefined) return;
    this.ended = reason;
    this.carrier.close();
    this.changed();
  };

  private async write(bytes: Uint8Array): Promise<void> {
    for (let at = 0; at < bytes.length; at += PIECE_BYTES) {
      while (this.underway >= WINDOW_BYTES - PIECE_BYTES && this.ended === undefined) await this.change();
      if (this.ended !== undefined) throw new Error(this.ended);
      const piece = bytes.subarray(at, at + PIECE_BYTES);
      this.underway += piece.length;
      this.carrier.send(frame(DATA, piece));
    }
  }

  private async read(length: number): Promise<Uint8Array> {
    while (this.queue.length === 0) {
      if (this.ended !== undefined) return new Uint8Array(0);
      await this.change();
    }
    const first = this.queue[0]!;
    const piece = first.subarray(0, length);
    if (piece.length === first.length) this.queue.shift();
    else this.queue[0] = first.subarray(piece.length);
    this.take(piece.length);
    return piece;
  }

  private take(bytes: number): void {
    this.held -= bytes;
    this.taken += bytes;
    if (this.ended !== undefined || (this.taken < PIECE_BYTES && this.queue.length > 0)) return;
    const count = new Uint8Array(4);
    new DataView(count.buffer).setUint32(0, this.taken, true);
    this.taken = 0;
    this.carrier.send(frame(TAKEN, count));
  }

  /** Both a reader and a writer may wait. */
  private change(): Promise<void> {
    return new Promise((resolve) => {
      const before = this.changed;
      this.changed = () => {
        this.changed = () => {};
        before();
        resolve();
      };
    });
  }
}

/** A line over something that carries messages: the owner hands each one that comes to `receive`. */
export const createMessageLink = (carrier: MessageCarrier): MessageLink => new FramedLink(carrier);

/** What this needs of a `MessagePort`, in a browser or of `node:worker_threads`. */
export interface MessagePortLike {
  postMessage(message: unknown): void;
  addEventListener(type: 'message' | 'close', listener: (event: { readonly data?: unknown }) => void): void;
  start?(): void;
  close(): void;
}

/** A line over a `MessagePort`: between a page and its worker, or two workers. A port that is closed is told to the other side by an empty message. */
export function createMessagePortLink(port: MessagePortLike): Link {
  const link = createMessageLink({
    send: (message) => port.postMessage(message),
    close: () => port.postMessage(null),
  });
  port.addEventListener('message', ({ data }) => (data instanceof Uint8Array && data.length > 0 ? link.receive(data) : link.end()));
  port.addEventListener('close', () => link.end());
  port.start?.();
  return link;
}

/** What this needs of a `WebSocket`, of a browser or of a library for Node. */
export interface WebSocketLike {
  binaryType: string;
  send(data: Uint8Array<ArrayBuffer>): void;
  addEventListener(type: 'message' | 'close' | 'error', listener: (event: { readonly data?: unknown }) => void): void;
  close(): void;
}

/** A line over an open `WebSocket`. */
export function createWebSocketLink(socket: WebSocketLike): Link {
  socket.binaryType = 'arraybuffer';
  const link = createMessageLink({
    send: (message) => socket.send(message as Uint8Array<ArrayBuffer>),
    close: () => socket.close(),
  });
  socket.addEventListener('message', ({ data }) =>
    data instanceof ArrayBuffer && data.byteLength > 0 ? link.receive(new Uint8Array(data)) : link.end(),
  );
  socket.addEventListener('close', () => link.end());
  socket.addEventListener('error', () => link.end('the WebSocket has failed'));
  return link;
}
