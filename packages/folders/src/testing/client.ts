import { type ErrorName, errorNumbers, FileError } from '../errors.js';
import { BytesExchange } from '../exchange.js';
import { HEADER_BYTES, Message, NO_FID, READ_HEADER_BYTES, SetAttribute, VERSION } from '../protocol/messages.js';
import { MessageReader } from '../protocol/reader.js';
import { MessageWriter } from '../protocol/writer.js';
import type { FileServer } from '../server/server.js';

/** A name of a listing. */
export interface ClientEntry {
  readonly name: string;
  /** Kind as `readdir(3)` has it. */
  readonly kind: number;
}

/** Answer to GETATTR. */
export interface ClientAttributes {
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly links: number;
  readonly sizeBytes: number;
  readonly modifiedMs: number;
  /** Type and number of the qid. */
  readonly qidType: number;
  readonly qidPath: string;
}

const MESSAGE_BYTES = 0x1_0000;

/** Sends requests to a server, and reads the answers; an error is thrown as `FileError`. Fids are the caller's numbers. */
export class FileClient {
  constructor(private readonly server: FileServer) {}

  /** Agrees on the version; the whole tree is fid 0 afterwards. */
  mount(): void {
    this.call(Message.VERSION, (m) => {
      m.u32(MESSAGE_BYTES);
      m.text(VERSION);
    });
    this.call(Message.ATTACH, (m) => {
      m.u32(0);
      m.u32(NO_FID);
      m.text('');
      m.text('');
      m.u32(0);
    });
  }

  /** One request; returns the answer, ready to be read. */
  call(type: number, fill: (request: MessageWriter) => void): MessageReader {
    const request = new MessageWriter(MESSAGE_BYTES);
    fill(request);
    const size = request.finish(type, 1);
    const exchange = new BytesExchange(request.bytes.subarray(0, size), MESSAGE_BYTES);
    if (this.server.exchange(exchange) === 0) throw new FileError('EPROTO', 'no answer');
    const { answer } = exchange;
    const reader = new MessageReader(answer);
    reader.rewind(HEADER_BYTES, answer.length);
    if (answer[4] === Message.LERROR + 1) throw failure(reader.u32());
    if (answer[4] !== type + 1) throw new FileError('EPROTO', `answer of type ${answer[4]} to ${type}`);
    return reader;
  }

  /** Walks from a fid by names to a new one; returns how many names there were. */
  walk(from: number, to: number, names: readonly string[]): number {
    return this.call(Message.WALK, (m) => {
      m.u32(from);
      m.u32(to);
      m.u16(names.length);
      for (const name of names) m.text(name);
    }).u16();
  }

  /** Opens with Linux's flags. */
  open(fid: number, flags: number): void {
    this.fields(Message.LOPEN, fid, flags);
  }

  create(fid: number, name: string, flags = 2, mode = 0o644): void {
    this.named(Message.LCREATE, fid, name, flags, mode, 0);
  }

  makeDirectory(fid: number, name: string): void {
    this.named(Message.MKDIR, fid, name, 0o755, 0);
  }

  symbolicLink(fid: number, name: string, target: string): void {
    this.call(Message.SYMLINK, (m) => {
      m.u32(fid);
      m.text(name);
      m.text(target);
      m.u32(0);
    });
  }

  readLink(fid: number): string {
    return this.fields(Message.READLINK, fid).text();
  }

  link(folder: number, fid: number, name: string): void {
    this.call(Message.LINK, (m) => {
      m.u32(folder);
      m.u32(fid);
      m.text(name);
    });
  }

  rename(folder: number, name: string, toFolder: number, toName: string): void {
    this.call(Message.RENAMEAT, (m) => {
      m.u32(folder);
      m.text(name);
      m.u32(toFolder);
      m.text(toName);
    });
  }

  unlink(folder: number, name: string, directory = false): void {
    this.named(Message.UNLINKAT, folder, name, directory ? 0x200 : 0);
  }

  read(fid: number, offset: number, count: number): Uint8Array {
    const answer = this.call(Message.READ, (m) => {
      m.u32(fid);
      m.u64(offset);
      m.u32(count);
    });
    return Uint8Array.from({ length: answer.u32() }, () => answer.u8());
  }

  write(fid: number, offset: number, bytes: Uint8Array): number {
    return this.call(Message.WRITE, (m) => {
      m.u32(fid);
      m.u64(offset);
      m.u32(bytes.length);
      for (const byte of bytes) m.u8(byte);
    }).u32();
  }

  /** All names of an open folder, `.` and `..` included. */
  list(fid: number, room = MESSAGE_BYTES - READ_HEADER_BYTES): ClientEntry[] {
    const entries: ClientEntry[] = [];
    for (let position = 0, more = true; more; ) {
      const answer = this.call(Message.READDIR, (m) => {
        m.u32(fid);
        m.u64(position);
        m.u32(room);
      });
      let left = answer.u32();
      more = left > 0;
      while (left > 0) {
        for (let i = 0; i < 13; i++) answer.u8();
        position = answer.u64();
        const kind = answer.u8();
        const name = answer.text();
        entries.push({ name, kind });
        left -= 24 + name.length;
      }
    }
    return entries;
  }

  attributes(fid: number): ClientAttributes {
    const answer = this.call(Message.GETATTR, (m) => {
      m.u32(fid);
      m.u64(0x7ff);
    });
    answer.u64();
    const qidType = answer.u8();
    answer.u32();
    const qidPath = `${answer.u32()}:${answer.u32()}`;
    const [mode, uid, gid, links] = [answer.u32(), answer.u32(), answer.u32(), answer.u64()];
    answer.u64();
    const sizeBytes = answer.u64();
    for (let i = 0; i < 4; i++) answer.u64();
    const modifiedMs = answer.u64() * 1000 + answer.u64() / 1e6;
    return { mode, uid, gid, links, sizeBytes, modifiedMs, qidType, qidPath };
  }

  /** Changes what is given. */
  change(fid: number, { mode, sizeBytes, modifiedMs }: { readonly mode?: number; readonly sizeBytes?: number; readonly modifiedMs?: number }): void {
    const flags =
      (mode === undefined ? 0 : SetAttribute.MODE) |
      (sizeBytes === undefined ? 0 : SetAttribute.SIZE) |
      (modifiedMs === undefined ? 0 : SetAttribute.MTIME | SetAttribute.MTIME_SET);
    this.call(Message.SETATTR, (m) => {
      for (const field of [fid, flags, mode ?? 0, 0, 0]) m.u32(field);
      m.u64(sizeBytes ?? 0);
      m.u64(0);
      m.u64(0);
      m.u64(Math.floor((modifiedMs ?? 0) / 1000));
      m.u64(((modifiedMs ?? 0) % 1000) * 1e6);
    });
  }

  clunk(fid: number): void {
    this.fields(Message.CLUNK, fid);
  }

  private fields(type: number, ...words: readonly number[]): MessageReader {
    return this.call(type, (m) => {
      for (const word of words) m.u32(word);
    });
  }

  private named(type: number, fid: number, name: string, ...words: readonly number[]): MessageReader {
    return this.call(type, (m) => {
      m.u32(fid);
      m.text(name);
      for (const word of words) m.u32(word);
    });
  }
}

function failure(number: number): FileError {
  const name = (Object.keys(errorNumbers) as ErrorName[]).find((key) => errorNumbers[key] === number);
  return new FileError(name ?? 'EIO');
}
