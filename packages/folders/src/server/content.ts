import { FileError } from '../errors.js';
import { LockStatus, LockType, Message, OpenFlag, READ_HEADER_BYTES, WRITE_HEADER_BYTES } from '../protocol/messages.js';
import { childPath, isDirectory, type OpenFile, type OpenMode, parentPath } from '../tree.js';
import type { Call, HandlerRow } from './handler.js';
import type { RecordLock } from './locks.js';
import { qidOf } from './qid.js';
import type { Fid, Session } from './session.js';

function readMode(flags: number): OpenMode {
  const access = flags & OpenFlag.ACCESS;
  return {
    read: access !== OpenFlag.WRITE_ONLY,
    write: access === OpenFlag.WRITE_ONLY || access === OpenFlag.READ_WRITE,
    append: (flags & OpenFlag.APPEND) !== 0,
    truncate: (flags & OpenFlag.TRUNCATE) !== 0,
    exclusive: (flags & OpenFlag.EXCLUSIVE) !== 0,
  };
}

/** Throws when a fid stands for something that is open already. */
function assertFree(fid: Fid): void {
  if (fid.file ?? fid.names ?? fid.attribute) throw new FileError('EINVAL');
}

function open({ session, request, reply }: Call): void {
  const number = request.u32();
  const flags = request.u32();
  const fid = session.fid(number);
  assertFree(fid);
  const path = session.pathOf(number);
  const attributes = session.stat(path);
  const mode = readMode(flags);
  const changes = mode.write || mode.truncate;
  if (isDirectory(attributes)) {
    if (changes) throw new FileError('EISDIR');
    fid.names = session.tree.list(path);
  } else {
    if (flags & OpenFlag.DIRECTORY) throw new FileError('ENOTDIR');
    if (changes && session.readOnly) throw new FileError('EROFS');
    session.hold(fid, mode, () => session.tree.open(path, mode));
  }
  reply.qid(qidOf(attributes));
  reply.u32(0);
}

function create({ session, request, reply }: Call): void {
  const number = request.u32();
  const fid = session.fid(number);
  assertFree(fid);
  const path = session.nameIn(number, request.text());
  const mode = readMode(request.u32());
  const file = { mode: request.u32() & 0o7777, uid: fid.uid, gid: request.u32() };
  session.hold(fid, mode, () => session.tree.create(path, mode, file));
  fid.path = path;
  reply.qid(qidOf(fid.file!.stat()));
  reply.u32(0);
}

/** A fid that is open as a file, in one direction. */
function fileOf(session: Session, number: number, direction: 'read' | 'write'): OpenFile {
  const { file, mode, names } = session.fid(number);
  if (names) throw new FileError('EISDIR');
  if (file === undefined || !mode?.[direction]) throw new FileError('EBADF');
  return file;
}

/** Reads straight into the answer's place. */
function read({ session, request, reply, exchange, mostBytes }: Call): void {
  const number = request.u32();
  const offset = request.u64();
  const count = Math.min(request.u32(), mostBytes - READ_HEADER_BYTES);
  const { attribute } = session.fid(number);
  let done = 0;
  if (attribute) {
    const bytes = attribute.writing ? new Uint8Array(0) : attribute.value.subarray(offset, offset + count);
    done = exchange.write(READ_HEADER_BYTES, bytes);
  } else {
    const file = fileOf(session, number, 'read');
    exchange.visitWritable(READ_HEADER_BYTES, count, (bytes, at) => {
      // A piece that comes after a short one is beyond the end.
      if (at === done) done += file.read(offset + at, bytes);
    });
  }
  reply.u32(done);
  reply.payloadBytes = done;
}

/** Writes straight from the request's place. */
function write({ session, request, reply, exchange }: Call): void {
  const number = request.u32();
  const offset = request.u64();
  const count = request.u32();
  if (count > exchange.readableBytes - WRITE_HEADER_BYTES) throw new FileError('EPROTO');
  const { attribute } = session.fid(number);
  let done = 0;
  if (attribute) {
    if (!attribute.writing || offset + count > attribute.value.length) throw new FileError('EINVAL');
    done = exchange.read(WRITE_HEADER_BYTES, attribute.value.subarray(offset, offset + count));
  } else {
    const file = fileOf(session, number, 'write');
    if (session.readOnly) throw new FileError('EROFS');
    exchange.visitReadable(WRITE_HEADER_BYTES, count, (bytes, at) => {
      if (at === done) done += file.write(offset + at, bytes);
    });
  }
  reply.u32(done);
}

/** Bytes of an entry without its name. */
const ENTRY_BYTES = 24;

/** Entries from a position on: `.` is at 0, `..` at 1, then the names. Those that have gone meanwhile are left out. */
function readDirectory({ session, request, reply, mostBytes }: Call): void {
  const number = request.u32();
  const first = request.u64();
  const room = Math.min(request.u32(), mostBytes - READ_HEADER_BYTES);
  const { names } = session.fid(number);
  if (names === undefined) throw new FileError('EBADF');
  const folder = session.pathOf(number);
  const countAt = reply.length;
  reply.u32(0);
  const start = reply.length;
  for (let i = first; i < names.length + 2; i++) {
    const name = i === 0 ? '.' : i === 1 ? '..' : names[i - 2]!;
    if (reply.length - start + ENTRY_BYTES + name.length > room) break;
    const path = i === 0 ? folder : i === 1 ? parentPath(folder) : childPath(folder, name);
    const attributes = session.tree.stat(path);
    if (attributes === undefined) continue;
    reply.qid(qidOf(attributes));
    reply.u64(i + 1);
    // The kind as `readdir(3)` has it: the upper bits of the mode.
    reply.u8((attributes.mode >>> 12) & 15);
    reply.text(name);
  }
  reply.patchU32(countAt, reply.length - start);
}

function sync({ session, request }: Call): void {
  const fid = session.fid(request.u32());
  fid.file?.sync(request.u32() !== 0);
}

/** Reads the range and the owner of a lock; a length of 0 means to the end. */
function readLock({ request }: Call, type: number): RecordLock {
  const start = request.wide();
  const length = request.wide();
  return { type, start, end: length === 0 ? Infinity : start + length, process: request.u32(), client: request.text() };
}

/** What locks know a file by. */
function lockedFile(session: Session, number: number): string {
  const { high, low } = qidOf(session.fid(number).file?.stat() ?? session.stat(session.pathOf(number)));
  return `${high}:${low}`;
}

/** Locks, or says that somebody else holds it: who wants to wait asks again. */
function lock(call: Call): void {
  const { session, request, reply } = call;
  const number = request.u32();
  const type = request.u8();
  request.u32();
  const wanted = readLock(call, type);
  if (type > LockType.UNLOCK) throw new FileError('EINVAL');
  const file = lockedFile(session, number);
  if (type !== LockType.UNLOCK && session.locks.conflict(file, wanted)) {
    reply.u8(LockStatus.BLOCKED);
    return;
  }
  const done = session.locks.set(file, wanted);
  const { process, client } = wanted;
  const fid = session.fid(number);
  const known = fid.locks?.some((held) => held.file === file && held.process === process && held.client === client);
  if (done && type !== LockType.UNLOCK && !known) (fid.locks ??= []).push({ file, process, client });
  reply.u8(done ? LockStatus.SUCCESS : LockStatus.ERROR);
}

/** Says which lock stands in the way, or that none does. */
function getLock(call: Call): void {
  const { session, request, reply } = call;
  const number = request.u32();
  const type = request.u8();
  const wanted = readLock(call, type);
  const held = session.locks.conflict(lockedFile(session, number), wanted);
  const { start, end, process, client } = held ?? wanted;
  reply.u8(held ? held.type : LockType.UNLOCK);
  reply.u64(start);
  reply.u64(end === Infinity ? 0 : end - start);
  reply.u32(process);
  reply.text(client);
}

/** What happens to open files. */
export const contentHandlers: Readonly<Record<number, HandlerRow>> = {
  [Message.LOPEN]: { name: 'lopen', run: open },
  [Message.LCREATE]: { name: 'lcreate', changes: true, run: create },
  [Message.READ]: { name: 'read', run: read },
  [Message.WRITE]: { name: 'write', run: write },
  [Message.READDIR]: { name: 'readdir', run: readDirectory },
  [Message.FSYNC]: { name: 'fsync', run: sync },
  [Message.LOCK]: { name: 'lock', run: lock },
  [Message.GETLOCK]: { name: 'getlock', run: getLock },
};
