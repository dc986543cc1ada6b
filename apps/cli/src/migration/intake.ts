import { readSync } from 'node:fs';
import { type OnReadOpts, Socket, type SocketConstructorOpts } from 'node:net';
import type { ByteSource } from '@nestvm/migration';

/** Node can't tell of Windows' sockets what could be read. */
const HAS_DESCRIPTORS = process.platform !== 'win32';
/** What comes first goes through a buffer, where the rest can be read to its place: few bytes; else all. */
const BUFFER_BYTES = HAS_DESCRIPTORS ? 8 << 10 : 256 << 10;
const LONGEST_READ_BYTES = 256 << 10;
/** So many bytes are read without a look at what else there is to do. */
const TURN_BYTES = 4 << 20;

/** Node's own side of a socket; it is no documented property. */
interface Handle {
  readonly useUserBuffer?: unknown;
  /** On hosts with descriptors. */
  readonly fd?: number;
}

const handleOf = (socket: Socket): Handle | null | undefined => (socket as unknown as { readonly _handle?: Handle | null })._handle;

interface Reader {
  readonly target: Uint8Array;
  have: number;
  /** So many bytes are enough. */
  readonly least: number;
  readonly resolve: (have: number) => void;
}

/**
 * A socket whose first bytes come into one buffer, again and again, and from there where they belong; what has come behind them is read to where it belongs, guest
 * memory above all. As a stream it would have new memory for each 64 KiB: of a machine of some gigabytes, all of them, cleared by the host and freed by the collector.
 */
export class Intake implements ByteSource {
  readonly socket: Socket;
  private readonly buffer: Buffer;
  /** Bytes that have come so far. */
  moved = 0;
  /** More may be there than the last read took, and how much of it may be read in this turn. */
  private more = false;
  private turnBytes = 0;
  /** What has come and was not taken. */
  private rest: Uint8Array = new Uint8Array(0);
  private ended = false;
  /** Who waits for bytes. */
  private reader: Reader | undefined;

  constructor(options: SocketConstructorOpts) {
    this.buffer = Buffer.allocUnsafeSlow(BUFFER_BYTES);
    const onread: OnReadOpts = { buffer: this.buffer, callback: (length) => this.give(length) };
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
    const target = new Uint8Array(Math.min(length, LONGEST_READ_BYTES));
    return target.subarray(0, await this.into(target, 1));
  }

  /** Fills `target`, unless the other side ends before. */
  readInto(target: Uint8Array): Promise<number> | number {
    return this.into(target, target.length);
  }

  private into(target: Uint8Array, least: number): Promise<number> | number {
    const have = this.fill(target, 0);
    if (have >= least || this.ended) return have;
    const waiting = new Promise<number>((resolve) => {
      this.reader = { target, have, least, resolve };
    });
    this.socket.resume();
    return waiting;
  }

  /** Puts what is there behind the first `have` bytes of `target`, and returns how many it has then. */
  private fill(target: Uint8Array, have: number): number {
    let end = this.take(target, have);
    while (end < target.length && this.more) {
      const length = target.length - end;
      if (length >= BUFFER_BYTES) end += this.readNow(target, end, length);
      else {
        this.rest = this.buffer.subarray(0, this.readNow(this.buffer, 0, BUFFER_BYTES));
        end = this.take(target, end);
      }
    }
    return end;
  }

  private take(target: Uint8Array, have: number): number {
    const { rest } = this;
    if (rest.length === 0) return have;
    const count = Math.min(rest.length, target.length - have);
    target.set(count === rest.length ? rest : rest.subarray(0, count), have);
    this.rest = rest.subarray(count);
    return have + count;
  }

  /** Reads what is there; a failure is left to Node, who reads next. */
  private readNow(target: Uint8Array, at: number, length: number): number {
    let came = 0;
    try {
      came = readSync(handleOf(this.socket)?.fd ?? -1, target, at, length, null);
    } catch {
      // Nothing is there.
    }
    this.moved += came;
    this.turnBytes -= came;
    this.more = came === length && this.turnBytes > 0;
    return came;
  }

  /** Bytes have come into the buffer; false: no more before somebody waits for them. */
  private give(length: number): boolean {
    this.moved += length;
    this.rest = this.buffer.subarray(0, length);
    this.more = HAS_DESCRIPTORS && length === BUFFER_BYTES;
    this.turnBytes = TURN_BYTES;
    const { reader } = this;
    if (reader) {
      reader.have = this.fill(reader.target, reader.have);
      if (reader.have >= reader.least) this.release(reader);
    }
    return this.reader !== undefined;
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
