import { FileError } from '../errors.js';
import { MOST_NAME_BYTES, MOST_PATH_BYTES } from '../protocol/messages.js';
import { childPath, type FileAttributes, type FileTree, type OpenFile, type OpenMode, type TreePath } from '../tree.js';
import { LockTable } from './locks.js';

/** An extended attribute that a fid stands for. */
export interface OpenAttribute {
  readonly value: Uint8Array;
  /** Set while it is being written: its name, and what must be true of it. */
  readonly writing?: { readonly name: string; readonly must: 'any' | 'create' | 'replace' };
}

/** What the client has a number for. */
export interface Fid {
  /** Where the file is; undefined once it was removed or replaced. */
  path: TreePath | undefined;
  readonly uid: number;
  file?: OpenFile;
  /** How `file` was opened. */
  mode?: OpenMode;
  /** Set while a directory is open: its names, as they were at the start of the listing. */
  names?: readonly string[];
  attribute?: OpenAttribute;
  /** Who holds locks through this fid, to be given back with it. */
  locks?: { readonly file: string; readonly process: number; readonly client: string }[];
}

/** How much a client may hold. */
export interface SessionLimits {
  readonly fids: number;
  readonly openFiles: number;
}

/** The state of one client. */
export class Session {
  readonly fids = new Map<number, Fid>();
  readonly locks = new LockTable();
  messageBytes = 0;
  private openFiles = 0;

  constructor(
    readonly tree: FileTree,
    readonly readOnly: boolean,
    private readonly limits: SessionLimits,
  ) {}

  /** Lets go of everything. */
  reset(): void {
    for (const number of this.fids.keys()) this.drop(number);
    this.locks.clear();
    this.messageBytes = 0;
  }

  fid(number: number): Fid {
    const fid = this.fids.get(number);
    if (fid === undefined) throw new FileError('EBADF');
    return fid;
  }

  /** Where the file of a fid is. */
  pathOf(number: number): TreePath {
    const { path } = this.fid(number);
    if (path === undefined) throw new FileError('ENOENT');
    return path;
  }

  /** The path of a new name in the folder of a fid. */
  nameIn(number: number, name: string): TreePath {
    assertName(name);
    const path = childPath(this.pathOf(number), name);
    if (path.length > MOST_PATH_BYTES) throw new FileError('ENAMETOOLONG');
    return path;
  }

  /** Attributes of what a path names, which must be there. */
  stat(path: TreePath): FileAttributes {
    const attributes = this.tree.stat(path);
    if (attributes === undefined) throw new FileError('ENOENT');
    return attributes;
  }

  add(number: number, fid: Fid): void {
    if (this.fids.has(number)) throw new FileError('EBADF');
    if (this.fids.size >= this.limits.fids) throw new FileError('ENFILE');
    this.fids.set(number, fid);
  }

  /** Opens a file for a fid, if the client may have one more. */
  hold(fid: Fid, mode: OpenMode, open: () => OpenFile): void {
    if (this.openFiles >= this.limits.openFiles) throw new FileError('EMFILE');
    fid.file = open();
    fid.mode = mode;
    this.openFiles++;
  }

  /** Forgets a fid, its open file and its locks. */
  drop(number: number): void {
    const fid = this.fid(number);
    this.fids.delete(number);
    for (const lock of fid.locks ?? []) this.locks.set(lock.file, { ...lock, type: 2, start: 0, end: Infinity });
    if (fid.file === undefined) return;
    this.openFiles--;
    fid.file.close();
  }

  /** A file or folder has another path now: so have the fids in it. What was at the new path is gone. */
  moved(from: TreePath, to: TreePath): void {
    if (from === to) return;
    this.removed(to);
    this.eachBelow(from, (fid, path) => {
      fid.path = to + path.slice(from.length);
    });
  }

  /** A file or folder is gone; fids with it open keep it. */
  removed(at: TreePath): void {
    this.eachBelow(at, (fid) => {
      fid.path = undefined;
    });
  }

  private eachBelow(at: TreePath, visit: (fid: Fid, path: TreePath) => void): void {
    for (const fid of this.fids.values()) {
      const { path } = fid;
      if (path !== undefined && (path === at || path.startsWith(`${at}/`))) visit(fid, path);
    }
  }
}

/** Throws unless a name can be that of a file in a folder: no path, no `.` or `..`. */
export function assertName(name: string): void {
  if (name.length > MOST_NAME_BYTES) throw new FileError('ENAMETOOLONG');
  if (name === '' || name === '.' || name === '..' || name.includes('/') || name.includes('\0')) throw new FileError('EINVAL');
}
