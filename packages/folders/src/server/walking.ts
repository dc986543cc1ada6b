import { FileError } from '../errors.js';
import { Message, MOST_NAMES, MOST_PATH_BYTES, NO_FID } from '../protocol/messages.js';
import type { Qid } from '../protocol/writer.js';
import { childPath, isDirectory, parentPath, type TreePath } from '../tree.js';
import type { Call, HandlerRow } from './handler.js';
import { qidOf } from './qid.js';
import { assertName, type Session } from './session.js';

function attach({ session, request, reply }: Call): void {
  const number = request.u32();
  const authentication = request.u32();
  request.text();
  const place = request.text();
  const uid = request.u32();
  if (authentication !== NO_FID) throw new FileError('EOPNOTSUPP');
  const path = placeOf(place);
  const attributes = session.stat(path);
  if (path !== '' && !isDirectory(attributes)) throw new FileError('ENOTDIR');
  session.add(number, { path, uid });
  reply.qid(qidOf(attributes));
}

/** The folder that a client asks for: the root, or one below. */
function placeOf(text: string): TreePath {
  const names = text.split('/').filter((name) => name !== '');
  names.forEach(assertName);
  return names.join('/');
}

/** One step of a walk; undefined where it ends, which is an error when it is the first. */
function step(session: Session, path: TreePath, name: string, first: boolean): { path: TreePath; qid: Qid } | undefined {
  try {
    if (name !== '..') assertName(name);
    const next = name === '..' ? parentPath(path) : childPath(path, name);
    if (next.length > MOST_PATH_BYTES) throw new FileError('ENAMETOOLONG');
    return { path: next, qid: qidOf(session.stat(next)) };
  } catch (error) {
    if (first) throw error;
    return undefined;
  }
}

/** Walks from a folder, as far as there are names. */
function walk({ session, request, reply }: Call): void {
  const number = request.u32();
  const target = request.u32();
  const names = Array.from({ length: Math.min(request.u16(), MOST_NAMES + 1) }, () => request.text());
  if (names.length > MOST_NAMES) throw new FileError('EINVAL');
  const { uid } = session.fid(number);
  let path = session.pathOf(number);
  const qids: Qid[] = [];
  for (const name of names) {
    const next = step(session, path, name, qids.length === 0);
    if (next === undefined) break;
    qids.push(next.qid);
    path = next.path;
  }
  if (qids.length === names.length) place(session, number, target, { path, uid });
  reply.u16(qids.length);
  for (const qid of qids) reply.qid(qid);
}

/** Puts the end of a walk where the client wants it: a new fid, or the one that it started from. */
function place(session: Session, number: number, target: number, fid: { path: TreePath; uid: number }): void {
  if (target === number) {
    if (session.fid(number).file) throw new FileError('EINVAL');
    session.drop(number);
  }
  session.add(target, fid);
}

function clunk({ session, request }: Call): void {
  const number = request.u32();
  const { path, attribute } = session.fid(number);
  try {
    const writing = attribute?.writing;
    if (writing) writeAttribute(session, path, writing, attribute.value);
  } finally {
    session.drop(number);
  }
}

function writeAttribute(
  { tree }: Session,
  path: TreePath | undefined,
  { name, must }: { readonly name: string; readonly must: 'any' | 'create' | 'replace' },
  value: Uint8Array,
): void {
  if (path === undefined) throw new FileError('ENOENT');
  if (tree.extended === undefined) throw new FileError('EOPNOTSUPP');
  // An empty value that is to replace one removes it: this is how Linux's client says so.
  if (value.length === 0 && must === 'replace') tree.extended.remove(path, name);
  else tree.extended.write(path, name, value, must);
}

/** Removes the file of a fid; the fid goes in any case. */
function remove({ session, request }: Call): void {
  const number = request.u32();
  const { path } = session.fid(number);
  session.drop(number);
  if (session.readOnly) throw new FileError('EROFS');
  if (path === undefined) throw new FileError('ENOENT');
  if (path === '') throw new FileError('EBUSY');
  session.tree.remove(path, isDirectory(session.stat(path)));
  session.removed(path);
}

/** Requests are answered at once, so that there is never one to be called off. */
function flush({ request }: Call): void {
  request.u16();
}

function refuseAuthentication(): never {
  throw new FileError('EOPNOTSUPP');
}

/** From the first fid to the last. */
export const walkingHandlers: Readonly<Record<number, HandlerRow>> = {
  [Message.AUTH]: { name: 'auth', run: refuseAuthentication },
  [Message.ATTACH]: { name: 'attach', run: attach },
  [Message.FLUSH]: { name: 'flush', run: flush },
  [Message.WALK]: { name: 'walk', run: walk },
  [Message.CLUNK]: { name: 'clunk', run: clunk },
  [Message.REMOVE]: { name: 'remove', run: remove },
};
