import { QidType } from '../protocol/messages.js';
import type { Qid } from '../protocol/writer.js';
import { type FileAttributes, FileType } from '../tree.js';

/** The type of a qid: what it says of a file's kind. */
function qidType(mode: number): number {
  const kind = mode & FileType.MASK;
  return kind === FileType.DIRECTORY ? QidType.DIRECTORY : kind === FileType.LINK ? QidType.LINK : QidType.FILE;
}

/** A file's identity; its version changes with its content. */
export function qidOf({ mode, volume, inode, modifiedMs, sizeBytes }: FileAttributes): Qid {
  return {
    type: qidType(mode),
    version: (Math.floor(modifiedMs * 1000) ^ (sizeBytes << 8)) >>> 0,
    low: inode % 2 ** 32,
    high: (Math.floor(inode / 2 ** 32) + volume * 0x1_0000) % 2 ** 32,
  };
}
