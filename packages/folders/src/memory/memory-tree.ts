import { FileError } from '../errors.js';
import {
  type ExtendedAttributes,
  type FileAttributes,
  type FileChange,
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
} from '../tree.js';
import { Node, type Owner } from './node.js';

/** How large a tree in memory may become, and its clock. */
export interface MemoryTreeOptions {
  /** Bytes of all files (default 256 MiB), and number of files (default 2^20). */
  readonly mostBytes?: number;
  readonly mostFiles?: number;
  /** Milliseconds since 1970 (default: time stands still at 0). */
  readonly now?: () => number;
}

/** Bytes of extended attributes of one file. */
const MOST_EXTENDED_BYTES = 0x1_0000;
const STATISTICS_BLOCK_BYTES = 4096;
const PLAIN: NewFile = { mode: 0o644, uid: 0, gid: 0 };
const FOLDER: NewFile = { mode: 0o755, uid: 0, gid: 0 };
const WHOLE: OpenMode = { read: true, write: true, append: false, truncate: true, exclusive: false };

/** A tree of files in memory, with everything that Linux expects of one: links, device nodes, extended attributes. */
export class MemoryTree implements FileTree {
  private readonly owner: Owner;
  private readonly root: Node;
  readonly extended: ExtendedAttributes;

  constructor({ mostBytes = 2 ** 28, mostFiles = 2 ** 20, now = () => 0 }: MemoryTreeOptions = {}) {
    this.owner = { usedBytes: 0, mostBytes, files: 0, mostFiles, lastInode: 0, now };
    this.root = new Node(this.owner, FileType.DIRECTORY, FOLDER);
    this.root.links = 1;
    this.extended = this.createExtended();
  }

  // For the host.

  /** Puts a file in, with the folders above it; names in UTF-8. Throws `FileError`. */
  writeFile(path: string, content: Uint8Array | string): void {
    const bytes = typeof content === 'string' ? new TextEncoder().encode(content) : content;
    const inside = toByteString(path);
    const names = parentPath(inside).split('/').filter(Boolean);
    names.forEach((_, i) => {
      const folder = names.slice(0, i + 1).join('/');
      if (this.find(folder) === undefined) this.makeDirectory(folder, FOLDER);
    });
    const file = this.create(inside, WHOLE, PLAIN);
    file.write(0, bytes);
    file.close();
  }

  /** A file's content; throws `FileError` when there is none. */
  readFile(path: string): Uint8Array {
    const { content } = this.node(toByteString(path));
    if (content === undefined) throw new FileError('EISDIR');
    const bytes = new Uint8Array(content.sizeBytes);
    content.read(0, bytes);
    return bytes;
  }

  // As a tree.

  stat(path: TreePath): FileAttributes | undefined {
    return this.find(path)?.attributes;
  }

  list(path: TreePath): readonly string[] {
    return [...this.folder(path).keys()];
  }

  open(path: TreePath, mode: OpenMode): OpenFile {
    return this.openNode(this.node(path), mode);
  }

  create(path: TreePath, mode: OpenMode, file: NewFile): OpenFile {
    const known = this.find(path);
    if (known && mode.exclusive) throw new FileError('EEXIST');
    return this.openNode(known ?? this.make(path, FileType.FILE, file), mode);
  }

  change(path: TreePath, change: FileChange): void {
    this.node(path).change(change);
  }

  makeDirectory(path: TreePath, file: NewFile): void {
    this.make(path, FileType.DIRECTORY, file);
  }

  makeLink(path: TreePath, target: string, file: NewFile): void {
    this.make(path, FileType.LINK, file).target = target;
  }

  makeNode(path: TreePath, device: number, file: NewFile): void {
    this.make(path, file.mode & FileType.MASK || FileType.FILE, file).device = device;
  }

  readLink(path: TreePath): string {
    const node = this.node(path);
    if (!node.isLink) throw new FileError('EINVAL');
    return node.target;
  }

  addName(path: TreePath, existing: TreePath): void {
    const node = this.node(existing);
    if (node.children) throw new FileError('EPERM');
    this.enter(path, node);
  }

  rename(from: TreePath, to: TreePath): void {
    const node = this.node(from);
    const replaced = this.find(to);
    if (replaced === node) return;
    if (replaced) {
      if (node.children && !replaced.children) throw new FileError('ENOTDIR');
      if (!node.children && replaced.children) throw new FileError('EISDIR');
      this.remove(to, replaced.children !== undefined);
    }
    this.enter(to, node);
    this.leave(from, node);
  }

  remove(path: TreePath, directory: boolean): void {
    if (path === '') throw new FileError('EBUSY');
    const node = this.node(path);
    if (directory && !node.children) throw new FileError('ENOTDIR');
    if (!directory && node.children) throw new FileError('EISDIR');
    if (node.children && node.children.size > 0) throw new FileError('ENOTEMPTY');
    this.leave(path, node);
    node.release();
  }

  statistics(): TreeStatistics {
    const { usedBytes, mostBytes, files, mostFiles } = this.owner;
    const blocks = Math.floor(mostBytes / STATISTICS_BLOCK_BYTES);
    const freeBlocks = Math.floor((mostBytes - usedBytes) / STATISTICS_BLOCK_BYTES);
    return { blockBytes: STATISTICS_BLOCK_BYTES, blocks, freeBlocks, availableBlocks: freeBlocks, files: mostFiles, freeFiles: mostFiles - files };
  }

  private find(path: TreePath): Node | undefined {
    let node: Node | undefined = this.root;
    if (path === '') return node;
    for (const name of path.split('/')) {
      node = node.children?.get(name);
      if (node === undefined) return undefined;
    }
    return node;
  }

  private node(path: TreePath): Node {
    const node = this.find(path);
    if (node === undefined) throw new FileError('ENOENT');
    return node;
  }

  private folder(path: TreePath): Map<string, Node> {
    const { children } = this.node(path);
    if (children === undefined) throw new FileError('ENOTDIR');
    return children;
  }

  private make(path: TreePath, kind: number, file: NewFile): Node {
    if (path === '' || this.folder(parentPath(path)).has(lastName(path))) throw new FileError('EEXIST');
    const node = new Node(this.owner, kind, file);
    this.enter(path, node);
    return node;
  }

  private enter(path: TreePath, node: Node): void {
    const folder = this.node(parentPath(path));
    const names = this.folder(parentPath(path));
    if (names.has(lastName(path))) throw new FileError('EEXIST');
    names.set(lastName(path), node);
    node.links++;
    if (node.children) folder.folders++;
    folder.touch();
  }

  private leave(path: TreePath, node: Node): void {
    const folder = this.node(parentPath(path));
    folder.children?.delete(lastName(path));
    node.links--;
    if (node.children) folder.folders--;
    folder.touch();
  }

  private openNode(node: Node, { append, truncate }: OpenMode): OpenFile {
    const { content } = node;
    if (content === undefined) throw new FileError(node.children ? 'EISDIR' : node.isLink ? 'ELOOP' : 'ENXIO');
    if (truncate) node.change({ sizeBytes: 0 });
    node.opened++;
    return {
      read: (offset, target) => content.read(offset, target),
      write: (offset, source) => {
        node.touch();
        return content.write(append ? content.sizeBytes : offset, source);
      },
      sync: () => {},
      stat: () => node.attributes,
      change: (change) => node.change(change),
      close: () => {
        node.opened--;
        node.release();
      },
    };
  }

  private createExtended(): ExtendedAttributes {
    return {
      list: (path) => [...this.node(path).extended.keys()],
      read: (path, name) => this.node(path).extended.get(name),
      write: (path, name, value, must) => {
        const { extended } = this.node(path);
        if (must === 'create' && extended.has(name)) throw new FileError('EEXIST');
        if (must === 'replace' && !extended.has(name)) throw new FileError('ENODATA');
        let bytes = name.length + value.length;
        for (const [known, held] of extended) if (known !== name) bytes += known.length + held.length;
        if (bytes > MOST_EXTENDED_BYTES) throw new FileError('ENOSPC');
        extended.set(name, value.slice());
      },
      remove: (path, name) => {
        if (!this.node(path).extended.delete(name)) throw new FileError('ENODATA');
      },
    };
  }
}
