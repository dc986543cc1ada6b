import { FileError } from '../errors.js';
import { BASIC_ATTRIBUTES, ExtendedFlag, MAGIC, Message, MOST_NAME_BYTES, SetAttribute } from '../protocol/messages.js';
import type { MessageReader } from '../protocol/reader.js';
import type { MessageWriter } from '../protocol/writer.js';
import { type FileChange, FileType } from '../tree.js';
import type { Call, HandlerRow } from './handler.js';
import { qidOf } from './qid.js';
import type { Session } from './session.js';

/** Largest value of an extended attribute (XATTR_SIZE_MAX of Linux). */
const MOST_VALUE_BYTES = 0x1_0000;

function time(reply: MessageWriter, milliseconds: number): void {
  const seconds = Math.max(0, Math.floor(milliseconds / 1000));
  reply.u64(seconds);
  reply.u64(Math.max(0, Math.floor((milliseconds - seconds * 1000) * 1e6)));
}

/** Attributes of a fid's file: of the open one, which may have lost its name. */
const attributesOf = (session: Session, number: number) => session.fid(number).file?.stat() ?? session.stat(session.pathOf(number));

function getAttributes({ session, request, reply }: Call): void {
  const attributes = attributesOf(session, request.u32());
  reply.u64(BASIC_ATTRIBUTES);
  reply.qid(qidOf(attributes));
  reply.u32(attributes.mode);
  reply.u32(attributes.uid);
  reply.u32(attributes.gid);
  reply.u64(attributes.links);
  reply.u64(attributes.device);
  reply.u64(attributes.sizeBytes);
  reply.u64(attributes.blockBytes);
  reply.u64(attributes.blocks);
  time(reply, attributes.accessedMs);
  time(reply, attributes.modifiedMs);
  time(reply, attributes.changedMs);
  time(reply, 0);
  reply.u64(0);
  reply.u64(0);
}

/** Seconds and nanoseconds as milliseconds. */
function readTime(request: MessageReader): number {
  const seconds = request.wide();
  return seconds * 1000 + request.wide() / 1e6;
}

/** Reads what a SETATTR changes. */
function readChange(request: MessageReader): FileChange {
  const valid = request.u32();
  const [mode, uid, gid, sizeBytes] = [request.u32(), request.u32(), request.u32(), request.wide()];
  const [accessed, modified] = [readTime(request), readTime(request)];
  if (valid & SetAttribute.SIZE && !Number.isSafeInteger(sizeBytes)) throw new FileError('EFBIG');
  return {
    ...(valid & SetAttribute.MODE ? { mode: mode & 0o7777 } : {}),
    ...(valid & SetAttribute.UID ? { uid } : {}),
    ...(valid & SetAttribute.GID ? { gid } : {}),
    ...(valid & SetAttribute.SIZE ? { sizeBytes } : {}),
    ...(valid & SetAttribute.ATIME ? { accessedMs: valid & SetAttribute.ATIME_SET ? accessed : 'now' } : {}),
    ...(valid & SetAttribute.MTIME ? { modifiedMs: valid & SetAttribute.MTIME_SET ? modified : 'now' } : {}),
  };
}

function setAttributes({ session, request }: Call): void {
  const number = request.u32();
  const change = readChange(request);
  const { file, mode, path } = session.fid(number);
  // A size can be changed through a file only when it is open for writing.
  if (file && (path === undefined || change.sizeBytes === undefined || mode?.write)) {
    if (change.sizeBytes !== undefined && !mode?.write) throw new FileError('EINVAL');
    file.change(change);
    return;
  }
  const at = session.pathOf(number);
  const kind = session.stat(at).mode & FileType.MASK;
  // A link has neither a size nor permissions that can be set.
  if (kind === FileType.LINK && (change.mode ?? change.sizeBytes) !== undefined) throw new FileError('EOPNOTSUPP');
  session.tree.change(at, change);
}

function fileSystem({ session, request, reply }: Call): void {
  session.fid(request.u32());
  const { blockBytes, blocks, freeBlocks, availableBlocks, files, freeFiles } = session.tree.statistics();
  reply.u32(MAGIC);
  reply.u32(blockBytes);
  for (const figure of [blocks, freeBlocks, availableBlocks, files, freeFiles, 0]) reply.u64(figure);
  reply.u32(MOST_NAME_BYTES);
}

const extendedOf = ({ tree }: Session) => {
  if (tree.extended === undefined) throw new FileError('EOPNOTSUPP');
  return tree.extended;
};

/** Makes a fid from which an attribute's value can be read, or (without a name) the list of names. */
function openAttribute({ session, request, reply }: Call): void {
  const path = session.pathOf(request.u32());
  const target = request.u32();
  const name = request.text();
  const extended = extendedOf(session);
  const value = name === '' ? listOf(extended.list(path)) : extended.read(path, name);
  if (value === undefined) throw new FileError('ENODATA');
  session.add(target, { path, uid: 0, attribute: { value } });
  reply.u64(value.length);
}

const listOf = (names: readonly string[]): Uint8Array => Uint8Array.from(names.map((name) => `${name}\0`).join(''), (letter) => letter.charCodeAt(0));

/** Makes a fid the place where an attribute's value is written to; it counts with the fid's end. */
function createAttribute({ session, request }: Call): void {
  const fid = session.fid(request.u32());
  const name = request.text();
  const size = request.u64();
  const flags = request.u32();
  extendedOf(session);
  if (name === '' || name.includes('\0') || name.length > MOST_NAME_BYTES) throw new FileError('EINVAL');
  if (size > MOST_VALUE_BYTES) throw new FileError('E2BIG');
  if (fid.file ?? fid.names ?? fid.attribute) throw new FileError('EINVAL');
  const must = flags & ExtendedFlag.CREATE ? 'create' : flags & ExtendedFlag.REPLACE ? 'replace' : 'any';
  fid.attribute = { value: new Uint8Array(size), writing: { name, must } };
}

/** What is known of files beside their content. */
export const attributeHandlers: Readonly<Record<number, HandlerRow>> = {
  [Message.GETATTR]: { name: 'getattr', run: getAttributes },
  [Message.SETATTR]: { name: 'setattr', changes: true, run: setAttributes },
  [Message.STATFS]: { name: 'statfs', run: fileSystem },
  [Message.XATTRWALK]: { name: 'xattrwalk', run: openAttribute },
  [Message.XATTRCREATE]: { name: 'xattrcreate', changes: true, run: createAttribute },
};
