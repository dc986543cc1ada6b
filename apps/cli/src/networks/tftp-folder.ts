import { closeSync, constants, fstatSync, openSync, readSync, realpathSync, statSync } from 'node:fs';
import { join, resolve, sep } from 'node:path';
import type { TftpFile, TftpFolder } from '@nestvm/networks';
import { UsageError } from '../errors.js';
import { reasonOf } from '../files.js';

/** A folder of the host for reading by TFTP: neither `..` nor symbolic links lead out of it. Throws `UsageError`. */
export function openTftpFolder(option: string, path: string): TftpFolder {
  let root: string;
  try {
    root = realpathSync(path);
    if (!statSync(root).isDirectory()) throw new Error('not a folder');
  } catch (error) {
    throw new UsageError(`${option}: tftp=${path}: ${reasonOf(error)}; name a folder`);
  }
  return (name) => openInside(root, name);
}

function openInside(root: string, name: string): TftpFile | undefined {
  let descriptor: number | undefined;
  try {
    const path = realpathSync(resolve(join(root, name.replaceAll('\\', '/'))));
    if (!path.startsWith(root.endsWith(sep) ? root : root + sep)) return undefined;
    // What the name meant a moment ago is no link; and a pipe is not waited for.
    descriptor = openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
    const file = descriptor;
    const stat = fstatSync(file);
    if (!stat.isFile()) throw new Error('not a file');
    return { sizeBytes: stat.size, read: (offset, into) => readSync(file, into, 0, into.length, offset), close: () => closeSync(file) };
  } catch {
    if (descriptor !== undefined) closeSync(descriptor);
    return undefined;
  }
}
