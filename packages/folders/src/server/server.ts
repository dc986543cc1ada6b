import { errorName, errorNumbers, FileError } from '../errors.js';
import type { Exchange } from '../exchange.js';
import { HEADER_BYTES, LEAST_MESSAGE_BYTES, Message, READ_HEADER_BYTES, VERSION, WRITE_HEADER_BYTES } from '../protocol/messages.js';
import { MessageReader } from '../protocol/reader.js';
import { MessageWriter } from '../protocol/writer.js';
import type { FileTree } from '../tree.js';
import { attributeHandlers } from './attributes.js';
import { contentHandlers } from './content.js';
import type { HandlerRow } from './handler.js';
import { nameHandlers } from './names.js';
import { loadSession, type SavedSession, saveSession } from './saved-session.js';
import { Session } from './session.js';
import { walkingHandlers } from './walking.js';

/** What a server serves, and to what extent. */
export interface FileServerOptions {
  readonly tree: FileTree;
  /** Refuses all that would change the tree (default false). */
  readonly readOnly?: boolean;
  /** Largest message (default 512 KiB and a header). */
  readonly mostMessageBytes?: number;
  /** Most fids (default 2^18), and most files open at once (default 4096). */
  readonly mostFids?: number;
  readonly mostOpenFiles?: number;
}

const handlers: Readonly<Record<number, HandlerRow>> = { ...walkingHandlers, ...nameHandlers, ...attributeHandlers, ...contentHandlers };

/** Largest request that is read as a whole: all but WRITE, whose data stays in place. */
const MOST_REQUEST_BYTES = 0x2_4000;
/** Largest answer that is put together here: all but READ. */
const MOST_REPLY_BYTES = 0x1_0000;
/** Bytes of LERROR's answer. */
const ERROR_BYTES = HEADER_BYTES + 4;

/** A 9P2000.L server for one client: one request, one answer, at once ("9P2000.L Protocol"). */
export class FileServer {
  private readonly session: Session;
  private readonly mostMessageBytes: number;
  private readonly bytes = new Uint8Array(MOST_REQUEST_BYTES);
  private readonly view = new DataView(this.bytes.buffer);
  private readonly request = new MessageReader(this.bytes);
  private readonly reply = new MessageWriter(MOST_REPLY_BYTES);

  constructor({
    tree,
    readOnly = false,
    mostMessageBytes = 0x8_0000 + WRITE_HEADER_BYTES + 1,
    mostFids = 2 ** 18,
    mostOpenFiles = 4096,
  }: FileServerOptions) {
    this.session = new Session(tree, readOnly, { fids: mostFids, openFiles: mostOpenFiles });
    this.mostMessageBytes = mostMessageBytes;
  }

  /** The client is gone: closes its files. */
  reset(): void {
    this.session.reset();
  }

  /** What the client holds, as plain data: the tree itself is not in it. */
  save(): SavedSession {
    return saveSession(this.session);
  }

  /** Puts a saved state back; files are opened again by their paths. Throws `TypeError` for what is none. */
  load(saved: unknown): void {
    loadSession(this.session, saved);
  }

  /** Answers a request; returns the size of the answer, or 0 when there is no request in it or no room even for an error. */
  exchange(exchange: Exchange): number {
    const { view, bytes } = this;
    if (exchange.readableBytes < HEADER_BYTES || exchange.writableBytes < ERROR_BYTES) return 0;
    exchange.read(0, bytes.subarray(0, WRITE_HEADER_BYTES));
    const type = view.getUint8(4);
    const tag = view.getUint16(5, true);
    try {
      this.take(exchange, view.getUint32(0, true), type);
      this.answer(exchange, type);
      return this.finish(exchange, type + 1, tag);
    } catch (error) {
      const { reply } = this;
      reply.restart();
      reply.u32(errorNumbers[errorName(error)]);
      return this.finish(exchange, Message.LERROR + 1, tag);
    }
  }

  /** Reads a request as far as it is needed; throws when its size is wrong. */
  private take(exchange: Exchange, size: number, type: number): void {
    const limit = this.session.messageBytes || this.mostMessageBytes;
    if (size < HEADER_BYTES || size > exchange.readableBytes || size > limit) throw new FileError('EMSGSIZE');
    const length = type === Message.WRITE ? Math.min(size, WRITE_HEADER_BYTES) : size;
    if (length > MOST_REQUEST_BYTES) throw new FileError('EMSGSIZE');
    if (length > WRITE_HEADER_BYTES) exchange.read(0, this.bytes.subarray(0, length));
    this.request.rewind(HEADER_BYTES, length);
    this.reply.restart();
  }

  private answer(exchange: Exchange, type: number): void {
    if (type === Message.VERSION) {
      this.agree();
      return;
    }
    const { session, request, reply } = this;
    const row = handlers[type];
    if (row === undefined) throw new FileError('EOPNOTSUPP');
    if (session.messageBytes === 0) throw new FileError('EPROTO');
    if (row.changes && session.readOnly) throw new FileError('EROFS');
    const mostBytes = Math.min(session.messageBytes, exchange.writableBytes);
    if (mostBytes < READ_HEADER_BYTES) throw new FileError('EMSGSIZE');
    row.run({ session, request, reply, exchange, mostBytes: type === Message.READ ? mostBytes : Math.min(mostBytes, MOST_REPLY_BYTES) });
  }

  /** Agrees on version and size of messages, and starts anew. */
  private agree(): void {
    const { request, reply, session } = this;
    const size = Math.min(request.u32(), this.mostMessageBytes);
    const version = request.text();
    session.reset();
    if (size < LEAST_MESSAGE_BYTES) throw new FileError('EMSGSIZE');
    const known = version === VERSION || version.startsWith(`${VERSION}.`);
    if (known) session.messageBytes = size;
    reply.u32(size);
    reply.text(known ? VERSION : 'unknown');
  }

  private finish(exchange: Exchange, type: number, tag: number): number {
    const { reply } = this;
    if (reply.length > exchange.writableBytes) {
      reply.restart();
      reply.u32(errorNumbers.EMSGSIZE);
      type = Message.LERROR + 1;
    }
    const size = reply.finish(type, tag);
    exchange.write(0, reply.bytes.subarray(0, reply.length));
    return size;
  }
}
