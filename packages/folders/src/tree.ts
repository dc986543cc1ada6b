/**
 * A path inside a tree: names joined by `/`, empty for the root. There are no empty names, no `.` and no `..` in it. Each character is one byte, since names on
 * disk are bytes and need not be UTF-8 (`toByteString`).
 */
export type TreePath = string;

/** Kinds of files in `mode` (`inode(7)`). */
export const FileType = {
  MASK: 0o170000,
  SOCKET: 0o140000,
  LINK: 0o120000,
  FILE: 0o100000,
  BLOCK: 0o060000,
  DIRECTORY: 0o040000,
  CHARACTER: 0o020000,
  FIFO: 0o010000,
} as const;

/** What is known of a file. Times in milliseconds since 1970. */
export interface FileAttributes {
  /** Kind (`FileType`) and permissions. */
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly links: number;
  /** Number of the device that a device node stands for. */
  readonly device: number;
  readonly sizeBytes: number;
  /** Size for good reads, and what is taken on disk in units of 512 bytes. */
  readonly blockBytes: number;
  readonly blocks: number;
  readonly accessedMs: number;
  readonly modifiedMs: number;
  readonly changedMs: number;
  /** What no other file of the tree has: file system and number in it. */
  readonly volume: number;
  readonly inode: number;
}

/** Whether attributes are those of a directory. */
export const isDirectory = (attributes: FileAttributes): boolean => (attributes.mode & FileType.MASK) === FileType.DIRECTORY;

/** What is to be changed of a file; what is absent stays. */
export interface FileChange {
  readonly mode?: number;
  readonly uid?: number;
  readonly gid?: number;
  readonly sizeBytes?: number;
  /** Milliseconds since 1970, or the time of the change. */
  readonly accessedMs?: number | 'now';
  readonly modifiedMs?: number | 'now';
}

/** How a file is opened. */
export interface OpenMode {
  readonly read: boolean;
  readonly write: boolean;
  /** Every write goes to the end. */
  readonly append: boolean;
  readonly truncate: boolean;
  /** Of `create`: fails when the file is there. */
  readonly exclusive: boolean;
}

/** Who a new file belongs to, and its permissions. */
export interface NewFile {
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
}

/** A regular file that is open. */
export interface OpenFile {
  /** Returns the number of bytes read: fewer at the end of the file. */
  read(offset: number, target: Uint8Array): number;
  /** Returns the number of bytes written. */
  write(offset: number, source: Uint8Array): number;
  /** What was written is on stable storage afterwards; with `dataOnly`, attributes that do not matter for reading need not be. */
  sync(dataOnly: boolean): void;
  stat(): FileAttributes;
  change(change: FileChange): void;
  close(): void;
}

/** Figures of a file system, as `statfs(2)` has them. */
export interface TreeStatistics {
  readonly blockBytes: number;
  readonly blocks: number;
  readonly freeBlocks: number;
  readonly availableBlocks: number;
  readonly files: number;
  readonly freeFiles: number;
}

/** Extended attributes by name; names are byte strings. */
export interface ExtendedAttributes {
  list(path: TreePath): readonly string[];
  /** Undefined when the file has no such attribute. */
  read(path: TreePath, name: string): Uint8Array | undefined;
  /** Throws `EEXIST` or `ENODATA` when it must be new, or must be there. */
  write(path: TreePath, name: string, value: Uint8Array, must: 'any' | 'create' | 'replace'): void;
  remove(path: TreePath, name: string): void;
}

/**
 * A tree of files that can be shared: what the server asks of a file system. Failures are thrown, as `FileError` or as the host's own errors with a `code`.
 * No method follows a symbolic link, in the middle of a path or at its end.
 */
export interface FileTree {
  /** Attributes; undefined when there is no such file. */
  stat(path: TreePath): FileAttributes | undefined;
  /** Names in a directory, without `.` and `..`. */
  list(path: TreePath): readonly string[];
  /** Opens a regular file; others are refused. */
  open(path: TreePath, mode: OpenMode): OpenFile;
  /** Makes a regular file, or opens the one that is there. */
  create(path: TreePath, mode: OpenMode, file: NewFile): OpenFile;
  change(path: TreePath, change: FileChange): void;
  makeDirectory(path: TreePath, file: NewFile): void;
  makeLink(path: TreePath, target: string, file: NewFile): void;
  /** Makes a device node, FIFO, socket or regular file; `mode` has the kind. */
  makeNode(path: TreePath, device: number, file: NewFile): void;
  readLink(path: TreePath): string;
  /** Gives a file a second name. */
  addName(path: TreePath, existing: TreePath): void;
  /** Replaces what is at `to`, as `rename(2)`. */
  rename(from: TreePath, to: TreePath): void;
  /** Removes a directory, or a file of any other kind. */
  remove(path: TreePath, directory: boolean): void;
  statistics(): TreeStatistics;
  /** Extended attributes, where the tree has them. */
  readonly extended?: ExtendedAttributes;
}

/** Text as a byte string in UTF-8: each character is one byte. */
export const toByteString = (text: string): string => String.fromCharCode(...new TextEncoder().encode(text));

/** The folder that a path is in; the root is in itself. */
export const parentPath = (path: TreePath): TreePath => path.slice(0, Math.max(0, path.lastIndexOf('/')));

/** The last name of a path. */
export const lastName = (path: TreePath): string => path.slice(path.lastIndexOf('/') + 1);

/** The path of a name in a folder. */
export const childPath = (folder: TreePath, name: string): TreePath => (folder === '' ? name : `${folder}/${name}`);
