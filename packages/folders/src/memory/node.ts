import { FileError } from '../errors.js';
import { type FileAttributes, type FileChange, FileType, type NewFile } from '../tree.js';
import { FileContent, type Room } from './content.js';

/** What all nodes of a tree share. */
export interface Owner extends Room {
  /** Milliseconds since 1970. */
  readonly now: () => number;
  readonly mostFiles: number;
  files: number;
  lastInode: number;
}

const BLOCK_BYTES = 4096;

/** A file of any kind, by whatever names. */
export class Node {
  links = 0;
  /** Number of folders in this one. */
  folders = 0;
  /** How often it is open. */
  opened = 0;
  device = 0;
  /** Of a symbolic link. */
  target = '';
  readonly children: Map<string, Node> | undefined;
  readonly content: FileContent | undefined;
  readonly extended = new Map<string, Uint8Array>();
  private readonly inode: number;
  private mode: number;
  private uid: number;
  private gid: number;
  private accessedMs: number;
  private modifiedMs: number;
  private changedMs: number;

  constructor(
    private readonly owner: Owner,
    kind: number,
    { mode, uid, gid }: NewFile,
  ) {
    if (owner.files >= owner.mostFiles) throw new FileError('ENOSPC');
    owner.files++;
    this.inode = ++owner.lastInode;
    this.mode = kind | (mode & 0o7777);
    this.uid = uid;
    this.gid = gid;
    this.accessedMs = this.modifiedMs = this.changedMs = owner.now();
    this.children = kind === FileType.DIRECTORY ? new Map<string, Node>() : undefined;
    this.content = kind === FileType.FILE ? new FileContent(owner) : undefined;
  }

  get isLink(): boolean {
    return (this.mode & FileType.MASK) === FileType.LINK;
  }

  get attributes(): FileAttributes {
    const { mode, uid, gid, device, inode, accessedMs, modifiedMs, changedMs, content } = this;
    const sizeBytes = content?.sizeBytes ?? (this.isLink ? this.target.length : (this.children?.size ?? 0));
    const blocks = (content?.takenBytes ?? 0) / 512;
    const links = this.children ? 2 + this.folders : this.links;
    return { mode, uid, gid, links, device, sizeBytes, blockBytes: BLOCK_BYTES, blocks, accessedMs, modifiedMs, changedMs, volume: 0, inode };
  }

  change({ mode, uid, gid, sizeBytes, accessedMs, modifiedMs }: FileChange): void {
    const now = this.owner.now();
    if (sizeBytes !== undefined) {
      if (this.content === undefined) throw new FileError(this.children ? 'EISDIR' : 'EINVAL');
      this.content.resize(sizeBytes);
      this.modifiedMs = now;
    }
    if (mode !== undefined) this.mode = (this.mode & FileType.MASK) | (mode & 0o7777);
    this.uid = uid ?? this.uid;
    this.gid = gid ?? this.gid;
    if (accessedMs !== undefined) this.accessedMs = accessedMs === 'now' ? now : accessedMs;
    if (modifiedMs !== undefined) this.modifiedMs = modifiedMs === 'now' ? now : modifiedMs;
    this.changedMs = now;
  }

  /** Content, or the names in a folder, have changed. */
  touch(): void {
    this.modifiedMs = this.changedMs = this.owner.now();
  }

  /** A name or an opener has gone: with the last one goes what it holds. */
  release(): void {
    if (this.links > 0 || this.opened > 0) return;
    this.content?.resize(0);
    this.owner.files--;
  }
}
