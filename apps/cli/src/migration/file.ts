import { closeSync, fstatSync, fsyncSync, openSync, readSync, renameSync, rmSync, statSync, writeSync } from 'node:fs';
import { dirname } from 'node:path';
import type { ByteSink, ByteSource } from '@nestvm/migration';
import { UsageError } from '../errors.js';
import { isSystemError, reasonOf } from '../files.js';

/** Makes what was written last through a crash: the directory's entry as well as the file. */
function syncDirectory(path: string): void {
  try {
    const directory = openSync(dirname(path), 'r');
    fsyncSync(directory);
    closeSync(directory);
  } catch {
    // Not every file system lets directories be opened.
  }
}

/** A device has to be written itself: another file of its name would take its place. Throws `UsageError` for what is neither a file nor a device. */
function isDevice(path: string): boolean {
  const there = statSync(path, { throwIfNoEntry: false });
  if (there?.isFIFO() || there?.isSocket()) throw new UsageError(`${path}: neither a file nor a device; choose another file`);
  return there !== undefined && (there.isCharacterDevice() || there.isBlockDevice());
}

/** Writes to what `path` names, opened anew, and closes it whatever happens. */
async function writeTo(path: string, write: (sink: ByteSink) => Promise<unknown>, finish: (descriptor: number) => void): Promise<void> {
  const descriptor = openSync(path, 'w', 0o600);
  try {
    await write({
      write: (bytes) => {
        for (let at = 0; at < bytes.length; ) at += writeSync(descriptor, bytes, at, bytes.length - at);
        // Others get a turn: the guest, the terminal, a cancellation.
        return new Promise((resolve) => setImmediate(resolve));
      },
    });
    finish(descriptor);
  } finally {
    closeSync(descriptor);
  }
}

async function replace(path: string, write: (sink: ByteSink) => Promise<unknown>): Promise<void> {
  const temporary = `${path}.partial-${process.pid}`;
  try {
    await writeTo(temporary, write, fsyncSync);
    renameSync(temporary, path);
  } catch (error) {
    rmSync(temporary, { force: true });
    throw error;
  }
  syncDirectory(path);
}

/** Writes a file under a temporary name, and gives it its own when it is whole: a failure leaves what was there before. */
export async function writeWhole(path: string, write: (sink: ByteSink) => Promise<unknown>): Promise<void> {
  try {
    await (isDevice(path) ? writeTo(path, write, () => {}) : replace(path, write));
  } catch (error) {
    // A full disk, a name that is a directory's: the machine is as it was.
    throw isSystemError(error) ? new UsageError(`${path}: ${reasonOf(error)}; choose another file`) : error;
  }
}

function open(option: string, path: string): number {
  try {
    // A pipe without a writer would be waited for, and the whole process with it.
    if (statSync(path).isFIFO()) throw new UsageError(`${option} ${path}: a pipe, not a file; check the path`);
    return openSync(path, 'r');
  } catch (error) {
    throw isSystemError(error) ? new UsageError(`${option} ${path}: ${reasonOf(error)}; check the path`) : error;
  }
}

function readPiece(option: string, path: string, descriptor: number, target: Uint8Array): number {
  try {
    return readSync(descriptor, target, 0, target.length, null);
  } catch (error) {
    throw isSystemError(error) ? new UsageError(`${option} ${path}: ${reasonOf(error)}; check the path`) : error;
  }
}

/** Lets `use` read a file as often as it likes, and closes what it has opened. Throws `UsageError` when the file can't be read. */
export async function readingFile<T>(option: string, path: string, use: (open: () => ByteSource) => Promise<T>): Promise<T> {
  const opened: number[] = [];
  const source = (): ByteSource => {
    const descriptor = open(option, path);
    opened.push(descriptor);
    if (fstatSync(descriptor).isDirectory()) throw new UsageError(`${option} ${path}: a directory, not a file; check the path`);
    const fill = (target: Uint8Array): number => readPiece(option, path, descriptor, target);
    return {
      read: (length) => {
        const bytes = new Uint8Array(length);
        return Promise.resolve(bytes.subarray(0, fill(bytes)));
      },
      readInto: (target) => Promise.resolve(fill(target)),
    };
  };
  try {
    return await use(source);
  } finally {
    for (const descriptor of opened) closeSync(descriptor);
  }
}
