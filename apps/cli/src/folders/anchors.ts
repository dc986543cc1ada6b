import { closeSync, constants, lstatSync, openSync, readlinkSync } from 'node:fs';
import { FileError, lastName, parentPath, type TreePath } from '@nestvm/folders';

/** O_PATH of Linux (open(2)), on x86 and ARM: a place in the tree, without the right to read it. */
const O_PATH = 0o10000000;
const FOLDER_FLAGS = O_PATH | constants.O_DIRECTORY | constants.O_NOFOLLOW;
/** Folders that are kept open. */
const MOST_OPEN = 256;

/** A path of the host that holds bytes, which need not be UTF-8. */
export type HostPath = string | Buffer;

const PLAIN = /^[\x20-\x7e]*$/;

/** A path of bytes as the host's functions take it. */
export const hostPath = (path: string): HostPath => (PLAIN.test(path) ? path : Buffer.from(path, 'latin1'));

/**
 * Finds the folders of a shared tree for the host's functions, so that no path that a guest names is ever followed through a symbolic link.
 */
export interface Anchors {
  /** A path of the host for a folder, good for one name more, until the next call. Throws when one of its parts is no folder (any more). */
  folder(path: TreePath): string;
  close(): void;
}

/**
 * With Linux's `/proc`: a folder is opened name by name, each relative to the one above and without following a link, and named by its descriptor.
 * Whatever is renamed or replaced by others meanwhile, a descriptor stays the folder that it is; and whether it still is where the path says is asked each time.
 */
class DescriptorAnchors implements Anchors {
  private readonly root: number;
  private rootPlace = '';
  private readonly open = new Map<TreePath, number>();
  /** No longer where their paths say; closed with the next call, since the last one may still be used with this. */
  private stale: number[] = [];
  private last: TreePath = '';

  constructor(rootPath: string) {
    this.root = openSync(hostPath(rootPath), O_PATH | constants.O_DIRECTORY);
  }

  folder(path: TreePath): string {
    for (const descriptor of this.stale.splice(0)) closeSync(descriptor);
    const descriptor = this.descriptor(path);
    this.trim(path);
    this.last = path;
    return `/proc/self/fd/${descriptor}`;
  }

  close(): void {
    for (const descriptor of [...this.open.values(), ...this.stale]) closeSync(descriptor);
    closeSync(this.root);
    this.open.clear();
  }

  private descriptor(path: TreePath): number {
    if (path === '') return this.root;
    const known = this.open.get(path);
    if (known !== undefined) {
      this.open.delete(path);
      if (this.isAt(known, path)) {
        this.open.set(path, known);
        return known;
      }
      this.stale.push(known);
    }
    const above = this.descriptor(parentPath(path));
    const descriptor = openSync(hostPath(`/proc/self/fd/${above}/${lastName(path)}`), FOLDER_FLAGS);
    this.open.set(path, descriptor);
    return descriptor;
  }

  /** Closes the folders that were not used for longest, but not the last two. */
  private trim(path: TreePath): void {
    for (const [other, descriptor] of this.open) {
      if (this.open.size <= MOST_OPEN) return;
      if (other === path || other === this.last) continue;
      closeSync(descriptor);
      this.open.delete(other);
    }
  }

  private isAt(descriptor: number, path: TreePath): boolean {
    const place = where(descriptor);
    if (place === `${this.rootPlace}/${path}`) return true;
    // The root may have been moved.
    const root = where(this.root);
    this.rootPlace = root === undefined || root === '/' ? '' : root;
    return place === `${this.rootPlace}/${path}`;
  }
}

/** Where a descriptor's file is now; undefined where that cannot be said, as for a path that is too long. */
function where(descriptor: number): string | undefined {
  try {
    return readlinkSync(`/proc/self/fd/${descriptor}`, 'latin1');
  } catch {
    return undefined;
  }
}

/** Without `/proc`: each part of a path is looked at first. Whoever can change the tree at that very moment from outside could still put a link there. */
class CheckedAnchors implements Anchors {
  constructor(private readonly root: string) {}

  folder(path: TreePath): string {
    let at = this.root;
    for (const name of path === '' ? [] : path.split('/')) {
      at += `/${name}`;
      if (!lstatSync(hostPath(at)).isDirectory()) throw new FileError('ENOTDIR');
    }
    return at;
  }

  close(): void {}
}

/** Anchors for a folder, given as a resolved path of bytes. */
export function createAnchors(root: string): Anchors {
  if (process.platform !== 'linux') return new CheckedAnchors(root);
  const anchors = new DescriptorAnchors(root);
  try {
    closeSync(openSync(anchors.folder(''), constants.O_RDONLY | constants.O_DIRECTORY));
    return anchors;
  } catch {
    // There is no /proc here.
    anchors.close();
    return new CheckedAnchors(root);
  }
}
