import { closeSync, openSync, readFileSync, writeFileSync, writeSync } from 'node:fs';
import { UsageError } from './errors.js';

const REASONS: Readonly<Record<string, string>> = {
  ENOENT: 'no such file',
  EADDRINUSE: 'the port is in use',
  EADDRNOTAVAIL: 'no such address here',
  ECONNREFUSED: 'nobody listens there',
  EACCES: 'permission denied',
  EISDIR: 'a directory, not a file',
  ENOTDIR: 'a part of the path is not a directory',
  ENOSPC: 'no space left',
  EROFS: 'the file system is read-only',
};

export const reasonOf = (error: unknown): string => {
  const code = (error as { code?: string }).code ?? '';
  return REASONS[code] ?? (error instanceof Error ? error.message : String(error));
};

/** Reads a whole file that an option names; throws `UsageError`. */
export function readInput(option: string, path: string): Uint8Array {
  try {
    return readFileSync(path);
  } catch (error) {
    throw new UsageError(`${option} ${path}: ${reasonOf(error)}; check the path`);
  }
}

/** Writes a whole file; throws `UsageError`. */
export function writeBytes(option: string, path: string, bytes: Uint8Array): void {
  try {
    writeFileSync(path, bytes);
  } catch (error) {
    throw new UsageError(`${option} ${path}: ${reasonOf(error)}; choose another file`);
  }
}

/** A file that bytes are appended to, in pieces; throws `UsageError` when it cannot be opened. */
export class OutputFile {
  private readonly descriptor: number;
  private readonly pending = Buffer.alloc(4096);
  private used = 0;

  constructor(option: string, path: string, append = false) {
    try {
      this.descriptor = openSync(path, append ? 'a' : 'w');
    } catch (error) {
      throw new UsageError(`${option} ${path}: ${reasonOf(error)}; choose another file`);
    }
  }

  write(byte: number): void {
    this.pending[this.used++] = byte;
    if (this.used === this.pending.length || byte === 10) this.flush();
  }

  /** Writes through, without waiting for the end of a line. */
  append(bytes: Uint8Array): void {
    this.flush();
    for (let at = 0; at < bytes.length; ) at += writeSync(this.descriptor, bytes, at, bytes.length - at);
  }

  print(text: string): void {
    for (const byte of Buffer.from(text)) {
      this.pending[this.used++] = byte;
      if (this.used === this.pending.length) this.flush();
    }
  }

  flush(): void {
    for (let at = 0; at < this.used; ) at += writeSync(this.descriptor, this.pending, at, this.used - at);
    this.used = 0;
  }

  close(): void {
    this.flush();
    closeSync(this.descriptor);
  }
}
