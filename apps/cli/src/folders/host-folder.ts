import {
  chmodSync,
  closeSync,
  constants,
  fstatSync,
  lchownSync,
  linkSync,
  lstatSync,
  lutimesSync,
  mkdirSync,
  openSync,
  readdirSync,
  readlinkSync,
  realpathSync,
  renameSync,
  rmdirSync,
  type Stats,
  statfsSync,
  statSync,
  symlinkSync,
  unlinkSync,
} from 'node:fs';
import {
  type FileAttributes,
  type FileChange,
  FileError,
  type FileTree,
  FileType,
  lastName,
  type NewFile,
  type OpenFile,
  type OpenMode,
  parentPath,
  type TreePath,
  type TreeStatistics,
  toByteString,
} from '@nestvm/folders';
import { type Anchors, createAnchors, type HostPath, hostPath } from './anchors.js';
import { attributesOf, chosenTimes } from './attributes.js';
import { HostFile } from './host-file.js';

/** How files that the guest makes get their owner. */
export type Ownership =
  /** Theirs as the guest says; what the host does not allow fails. */
  | 'passthrough'
  /** The same, but a host that does not allow it is not asked again: the file is this process's. */
  | 'none';

/** A FIFO must not make this process wait, nor a terminal become its own; and a link at the end is not followed. */
const SAFELY = constants.O_NOFOLLOW | constants.O_NONBLOCK | constants.O_NOCTTY;

/** A folder of the host as a tree for guests. Nothing outside of it is reached: see `Anchors`. */
export class HostFolder implements FileTree {
  private readonly anchors: Anchors;
  private readonly volumes = new Map<number, number>();

  /** Throws the host's error when there is no such folder. */
  constructor(
    path: string,
    private readonly ownership: Ownership,
  ) {
    const root = realpathSync(path);
    if (!statSync(root).isDirectory()) throw Object.assign(new Error('not a directory'), { code: 'ENOTDIR' });
    this.anchors = createAnchors(toByteString(root));
  }

  /** Ends the use of the folder. */
  close(): void {
    this.anchors.close();
  }

  stat(path: TreePath): FileAttributes | undefined {
    const stats = this.lstat(path);
    return stats && attributesOf(stats, this.volumeOf);
  }

  list(path: TreePath): readonly string[] {
    return readdirSync(this.anchors.folder(path), 'latin1');
  }

  open(path: TreePath, mode: OpenMode): OpenFile {
    return this.openRegular(path, flagsOf(mode));
  }

  create(path: TreePath, mode: OpenMode, file: NewFile): OpenFile {
    const known = this.lstat(path);
    if (known) {
      if (mode.exclusive) throw new FileError('EEXIST');
      return this.openRegular(path, flagsOf(mode));
    }
    // What was not there a moment ago is made, and nothing else is opened.
    const descriptor = openSync(this.place(path), flagsOf(mode) | constants.O_CREAT | constants.O_EXCL | SAFELY, file.mode);
    this.finish(path, file, true);
    return new HostFile(descriptor, this.volumeOf);
  }

  change(path: TreePath, change: FileChange): void {
    const { mode, uid, gid, sizeBytes } = change;
    if (sizeBytes !== undefined) {
      const file = this.openRegular(path, constants.O_WRONLY);
      try {
        file.change({ sizeBytes });
      } finally {
        file.close();
      }
    }
    if (uid !== undefined || gid !== undefined) {
      const stats = this.present(path);
      lchownSync(this.place(path), uid ?? stats.uid, gid ?? stats.gid);
    }
    if (mode !== undefined) this.changeMode(path, mode);
    const times = chosenTimes(change, () => this.present(path));
    if (times) lutimesSync(this.place(path), times.accessed, times.modified);
  }

  makeDirectory(path: TreePath, file: NewFile): void {
    mkdirSync(this.place(path), { mode: file.mode });
    this.finish(path, file, true);
  }

  makeLink(path: TreePath, target: string, file: NewFile): void {
    symlinkSync(hostPath(target), this.place(path));
    this.finish(path, file, false);
  }

  makeNode(path: TreePath, _device: number, file: NewFile): void {
    const kind = file.mode & FileType.MASK;
    // Node cannot make others; and a device node in a folder of the host would be a device of the host.
    if (kind !== 0 && kind !== FileType.FILE) throw new FileError('EPERM');
    closeSync(openSync(this.place(path), constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | SAFELY, file.mode & 0o7777));
    this.finish(path, file, true);
  }

  readLink(path: TreePath): string {
    return readlinkSync(this.place(path), 'latin1');
  }

  addName(path: TreePath, existing: TreePath): void {
    const from = this.place(existing);
    linkSync(from, this.place(path));
  }

  rename(from: TreePath, to: TreePath): void {
    const source = this.place(from);
    renameSync(source, this.place(to));
  }

  remove(path: TreePath, directory: boolean): void {
    if (directory) rmdirSync(this.place(path));
    else if (this.present(path).isDirectory()) throw new FileError('EISDIR');
    else unlinkSync(this.place(path));
  }

  statistics(): TreeStatistics {
    const { bsize, blocks, bfree, bavail, files, ffree } = statfsSync(this.anchors.folder(''));
    return { blockBytes: bsize, blocks, freeBlocks: bfree, availableBlocks: bavail, files, freeFiles: ffree };
  }

  /** Small numbers for the host's file systems. */
  private readonly volumeOf = (device: number): number => {
    let volume = this.volumes.get(device);
    if (volume === undefined) this.volumes.set(device, (volume = this.volumes.size));
    return volume;
  };

  /** A path for the host's functions that do not follow a link at its end. */
  private place(path: TreePath): HostPath {
    if (path === '') return `${this.anchors.folder('')}/.`;
    return hostPath(`${this.anchors.folder(parentPath(path))}/${lastName(path)}`);
  }

  private lstat(path: TreePath): Stats | undefined {
    return lstatSync(this.place(path), { throwIfNoEntry: false });
  }

  private present(path: TreePath): Stats {
    const stats = this.lstat(path);
    if (stats === undefined) throw new FileError('ENOENT');
    return stats;
  }

  /** Opens what is a regular file, and was one before: opening a device can do something by itself. */
  private openRegular(path: TreePath, flags: number): HostFile {
    const before = this.present(path);
    if (before.isSymbolicLink()) throw new FileError('ELOOP');
    if (!before.isFile()) throw new FileError(before.isDirectory() ? 'EISDIR' : 'ENXIO');
    const descriptor = openSync(this.place(path), flags | SAFELY);
    if (fstatSync(descriptor).isFile()) return new HostFile(descriptor, this.volumeOf);
    closeSync(descriptor);
    throw new FileError('ENXIO');
  }

  /** Permissions are set through a descriptor, since there is no call that does not follow a link at the end. */
  private changeMode(path: TreePath, mode: number): void {
    const stats = this.present(path);
    if (stats.isSymbolicLink()) throw new FileError('EOPNOTSUPP');
    if (stats.isDirectory()) {
      chmodSync(this.anchors.folder(path), mode);
      return;
    }
    if (!stats.isFile()) throw new FileError('EPERM');
    const descriptor = openSync(this.place(path), constants.O_RDONLY | SAFELY);
    const file = new HostFile(descriptor, this.volumeOf);
    try {
      file.change({ mode });
    } finally {
      file.close();
    }
  }

  /** Owner and permissions of a new file, which this process's umask must not change. */
  private finish(path: TreePath, { mode, uid, gid }: NewFile, permissions: boolean): void {
    try {
      const stats = this.present(path);
      if (stats.uid !== uid || stats.gid !== gid) lchownSync(this.place(path), uid, gid);
    } catch (error) {
      if (this.ownership === 'passthrough') throw error;
    }
    if (permissions) this.changeMode(path, mode & 0o7777);
  }
}

const flagsOf = ({ read, write, append, truncate }: OpenMode): number =>
  (read && write ? constants.O_RDWR : write ? constants.O_WRONLY : constants.O_RDONLY) |
  (append ? constants.O_APPEND : 0) |
  (truncate ? constants.O_TRUNC : 0);
