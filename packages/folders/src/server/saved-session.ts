import type { OpenMode, TreePath } from '../tree.js';
import type { RecordLock } from './locks.js';
import { assertName, type Fid, type Session } from './session.js';

/** What a client holds, as plain data. */
export interface SavedSession {
  readonly messageBytes: number;
  readonly fids: readonly SavedFid[];
  readonly locks: readonly (readonly [file: string, locks: readonly RecordLock[]])[];
}

interface SavedFid {
  readonly number: number;
  readonly path: TreePath | null;
  readonly uid: number;
  readonly mode: OpenMode | null;
  readonly folder: boolean;
  readonly attribute: { readonly value: readonly number[]; readonly name: string | null; readonly must: 'any' | 'create' | 'replace' } | null;
}

export function saveSession(session: Session): SavedSession {
  const fids = [...session.fids].map(([number, { path, uid, mode, names, attribute }]): SavedFid => {
    const { name, must } = attribute?.writing ?? { name: null, must: 'any' as const };
    return {
      number,
      path: path ?? null,
      uid,
      mode: mode ?? null,
      folder: names !== undefined,
      attribute: attribute ? { value: [...attribute.value], name, must } : null,
    };
  });
  return { messageBytes: session.messageBytes, fids, locks: session.locks.entries() };
}

/** Thrown when a saved state is none of this server's. */
const bad = (what: string): TypeError => new TypeError(`9p: the saved state has ${what}; restore a snapshot of the same machine`);

const isCount = (value: unknown, most: number): value is number => Number.isInteger(value) && (value as number) >= 0 && (value as number) <= most;

/** Puts a state back: files are opened again by their paths. What is not there any more is lost, and the guest is told so when it uses it. */
export function loadSession(session: Session, saved: unknown): void {
  const { messageBytes, fids, locks } = (saved ?? {}) as Partial<SavedSession>;
  if (!isCount(messageBytes, 2 ** 31) || !Array.isArray(fids) || !Array.isArray(locks)) throw bad('no list of fids');
  const checked = fids.map(checkFid);
  session.reset();
  session.messageBytes = messageBytes;
  for (const { number, fid, mode, folder } of checked) {
    session.add(number, fid);
    reopen(session, fid, mode, folder);
  }
  session.locks.restore(locks);
}

function checkFid(saved: unknown): { number: number; fid: Fid; mode: OpenMode | null; folder: boolean } {
  const { number, path, uid, mode, folder, attribute } = (saved ?? {}) as Partial<SavedFid>;
  if (!isCount(number, 0xffffffff) || !isCount(uid, 0xffffffff)) throw bad('a fid without numbers');
  if (path !== null && typeof path !== 'string') throw bad('a fid without a path');
  if (path) path.split('/').forEach(assertName);
  const fid: Fid = { path: path ?? undefined, uid };
  if (attribute) {
    if (!Array.isArray(attribute.value) || attribute.value.length > 0x1_0000) throw bad('an attribute without a value');
    const writing = typeof attribute.name === 'string' ? { writing: { name: attribute.name, must: attribute.must } } : {};
    fid.attribute = { value: Uint8Array.from(attribute.value as number[]), ...writing };
  }
  return { number, fid, mode: mode ?? null, folder: folder === true };
}

function reopen(session: Session, fid: Fid, mode: OpenMode | null, folder: boolean): void {
  const { path } = fid;
  if (path === undefined) return;
  try {
    if (folder) fid.names = session.tree.list(path);
    const { read, write, append } = mode ?? {};
    const again = { read: read === true, write: write === true && !session.readOnly, append: append === true, truncate: false, exclusive: false };
    if (mode) session.hold(fid, again, () => session.tree.open(path, again));
  } catch {
    // It has gone, or cannot be opened: the guest hears of it at its next use.
    fid.path = undefined;
  }
}
