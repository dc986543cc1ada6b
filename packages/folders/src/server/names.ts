import { FileError } from '../errors.js';
import { Message, REMOVE_DIRECTORY } from '../protocol/messages.js';
import { FileType, type NewFile, type TreePath } from '../tree.js';
import type { Call, HandlerRow } from './handler.js';
import { qidOf } from './qid.js';
import { assertName, type Session } from './session.js';

const PERMISSIONS = 0o7777;
/** Longest target of a symbolic link (PATH_MAX of Linux, without its end). */
const MOST_TARGET_BYTES = 4095;

/** Where a new file goes, and whose it is. */
interface Place {
  readonly path: TreePath;
  readonly uid: number;
}

/** Reads the folder and the name of a new file. */
function readPlace({ session, request }: Call): Place {
  const number = request.u32();
  return { path: session.nameIn(number, request.text()), uid: session.fid(number).uid };
}

function answerNew({ session, reply }: Call, path: TreePath): void {
  reply.qid(qidOf(session.stat(path)));
}

function symbolicLink(call: Call): void {
  const { session, request } = call;
  const { path, uid } = readPlace(call);
  const target = request.text();
  if (target === '' || target.includes('\0')) throw new FileError('EINVAL');
  if (target.length > MOST_TARGET_BYTES) throw new FileError('ENAMETOOLONG');
  session.tree.makeLink(path, target, { mode: 0o777, uid, gid: request.u32() });
  answerNew(call, path);
}

function makeNode(call: Call): void {
  const { session, request } = call;
  const { path, uid } = readPlace(call);
  const mode = request.u32();
  const [major, minor] = [request.u32(), request.u32()];
  const kind = mode & FileType.MASK;
  if (kind === FileType.DIRECTORY || kind === FileType.LINK) throw new FileError('EINVAL');
  // As Linux packs the numbers of devices.
  const device = (((minor & 0xff) | ((major & 0xfff) << 8)) >>> 0) + (minor >>> 8) * 2 ** 20;
  session.tree.makeNode(path, device, { mode: mode & (FileType.MASK | PERMISSIONS), uid, gid: request.u32() });
  answerNew(call, path);
}

function makeDirectory(call: Call): void {
  const { session, request } = call;
  const { path, uid } = readPlace(call);
  const file: NewFile = { mode: request.u32() & PERMISSIONS, uid, gid: request.u32() };
  session.tree.makeDirectory(path, file);
  answerNew(call, path);
}

function link({ session, request }: Call): void {
  const folder = request.u32();
  const existing = session.pathOf(request.u32());
  session.tree.addName(session.nameIn(folder, request.text()), existing);
}

function move(session: Session, from: TreePath, to: TreePath): void {
  if (from === '') throw new FileError('EBUSY');
  if (to.startsWith(`${from}/`)) throw new FileError('EINVAL');
  session.tree.rename(from, to);
  session.moved(from, to);
}

function rename({ session, request }: Call): void {
  const from = session.pathOf(request.u32());
  const folder = request.u32();
  move(session, from, session.nameIn(folder, request.text()));
}

function renameAt({ session, request }: Call): void {
  const oldFolder = request.u32();
  const from = session.nameIn(oldFolder, request.text());
  const newFolder = request.u32();
  move(session, from, session.nameIn(newFolder, request.text()));
}

function unlinkAt({ session, request }: Call): void {
  const folder = request.u32();
  const name = request.text();
  const flags = request.u32();
  if (flags & ~REMOVE_DIRECTORY) throw new FileError('EINVAL');
  assertName(name);
  const path = session.nameIn(folder, name);
  session.tree.remove(path, flags === REMOVE_DIRECTORY);
  session.removed(path);
}

function readLink({ session, request, reply }: Call): void {
  reply.text(session.tree.readLink(session.pathOf(request.u32())));
}

/** What makes, moves and removes names. */
export const nameHandlers: Readonly<Record<number, HandlerRow>> = {
  [Message.SYMLINK]: { name: 'symlink', changes: true, run: symbolicLink },
  [Message.MKNOD]: { name: 'mknod', changes: true, run: makeNode },
  [Message.MKDIR]: { name: 'mkdir', changes: true, run: makeDirectory },
  [Message.LINK]: { name: 'link', changes: true, run: link },
  [Message.RENAME]: { name: 'rename', changes: true, run: rename },
  [Message.RENAMEAT]: { name: 'renameat', changes: true, run: renameAt },
  [Message.UNLINKAT]: { name: 'unlinkat', changes: true, run: unlinkAt },
  [Message.READLINK]: { name: 'readlink', run: readLink },
};
