import type { Stats } from 'node:fs';
import type { FileAttributes, FileChange } from '@nestvm/folders';

/** Attributes as the host has them. */
export function attributesOf(stats: Stats, volumeOf: (device: number) => number): FileAttributes {
  return {
    mode: stats.mode,
    uid: stats.uid,
    gid: stats.gid,
    links: stats.nlink,
    device: stats.rdev,
    sizeBytes: stats.size,
    blockBytes: stats.blksize,
    blocks: stats.blocks,
    accessedMs: stats.atimeMs,
    modifiedMs: stats.mtimeMs,
    changedMs: stats.ctimeMs,
    volume: volumeOf(stats.dev),
    inode: stats.ino,
  };
}

/** Times to be set, in seconds; undefined when none is to be. Node cuts them to microseconds: a quarter more keeps what is whole from falling below. */
export function chosenTimes(
  { accessedMs, modifiedMs }: FileChange,
  stat: () => { readonly atimeMs: number; readonly mtimeMs: number },
): { readonly accessed: number; readonly modified: number } | undefined {
  if (accessedMs === undefined && modifiedMs === undefined) return undefined;
  const { atimeMs, mtimeMs } = stat();
  const seconds = (time: number | 'now' | undefined, old: number): number => (time === 'now' ? Date.now() : (time ?? old)) / 1000 + 2.5e-7;
  return { accessed: seconds(accessedMs, atimeMs), modified: seconds(modifiedMs, mtimeMs) };
}
