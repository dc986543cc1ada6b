import { type OnReadOpts, Socket, type SocketConstructorOpts } from 'node:net';
import type { ByteSource } from '@nestvm/migration';

const BUFFER_BYTES = 256 << 10;

/** Node's own side of a socket; it is no documented property. */
interface Handle {
  readonly useUserBuffer?: unknown;
}

interface Reader {
  readonly target: Uint8Array;
  have: number;
  /** So many bytes are enough. */
  readonly least: number;
  readonly resolve: (have: number) => void;
}

/**
 * A socket whose bytes come into one buffer, again and again, and from there where they belong. As a stream it would have new memory for each 64 KiB: of a machine
 * of some gigabytes, all of them, cleared by the host and freed by the collector.
 */
export class Intake implements ByteSource {
  readonly socket: Socket;
  /** Bytes that have come so far. */
  moved = 0;
  /** What has come and was not taken. */
  private rest: Uint8Array = new Uint8Array(0);
  private ended = false;
  /** Who waits for bytes. */
  private reader: Reader | undefined;

  constructor(options: SocketConstructorOpts) {
    const buffer = Buffer.allocUnsafeSlow(BUFFER_BYTES);
    const onread: OnReadOpts = { buffer, callback: (length) => this.give(buffer.subarray(0, length)) };
    this.socket = new Socket({ ...options, onread } as SocketConstructorOpts);
    for (const event of ['end', 'close', 'error']) this.socket.on(event, () => this.end());
  }

  /** Takes over a connection that a server has just accepted, before anything was read of it; undefined where this Node can't do so. */
  static of(accepted: Socket): Intake | undefined {
    const holder = accepted as unknown as { _handle?: Handle | null };
    const handle = holder._handle;
    if (typeof handle?.useUserBuffer !== 'function') return undefined;
    holder._handle = null;
    return new Intake({ handle, readable: true, writable: true } as SocketConstructorOpts);
  }

  async read(length: number): Promise<Uint8Array> {
    const target = new Uint8Array(Math.min(length, BUFFER_BYTES));
    return target.subarray(0, await this.into(target, 1));
  }

  /** Fills `target`, unless the other side ends before. */
  readInto(target: Uint8Array): Promise<number> | number {
    return this.into(target, target.length);
  }

  private into(target: Uint8Array, least: number): Promise<number> | number {
    const have = this.take(target);
    if (have >= least || this.ended) return have;
    const waiting = new Promise<number>((resolve) => {
      this.reader = { target, have, least, resolve };
    });
    this.socket.resume();
    return waiting;
  }

  private take(target: Uint8Array): number {
    const { rest } = this;
    if (rest.length === 0) return 0;
    const count = Math.min(rest.length, target.length);
    target.set(count === rest.length ? rest : rest.subarray(0, count));
    this.rest = rest.subarray(count);
    return count;
  }

  /** Bytes have come; false: no more before these were taken. */
  private give(came: Uint8Array): boolean {
    this.moved += came.length;
    this.rest = came;
    const { reader } = this;
    if (reader) {
      reader.have += this.take(reader.have === 0 ? reader.target : reader.target.subarray(reader.have));
      if (reader.have >= reader.least) this.release(reader);
    }
    return this.rest.length === 0;
  }

  private release({ have, resolve }: Reader): void {
    this.reader = undefined;
    resolve(have);
  }

  private end(): void {
    this.ended = true;
    if (this.reader) this.release(this.reader);
  }
}
