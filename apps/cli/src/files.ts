import { closeSync, openSync, readFileSync, writeFileSync, writeSync } from 'node:fs';
import { UsageError } from './errors.js';

const REASONS: Readonly<Record<string, string>> = {
  ENOENT: 'no such file',
  EADDRINUSE: 'the port is in use',
  EADDRNOTAVAIL: 'no such address here',
  ECONNREFUSED: 'nobody listens there',
  EACCES: 'permission denied',
  EPERM: 'not permitted',
  ENOTFOUND: 'no such host',
  EAI_AGAIN: 'no such host, or nobody answers for its name',
  ENETUNREACH: 'there is no way to that network',
  EHOSTUNREACH: 'there is no way to that host',
  ETIMEDOUT: 'nobody answers',
  ECONNRESET: 'the other side hung up',
  ENAMETOOLONG: 'the name is too long',
  ELOOP: 'symbolic links lead in a circle',
  EMFILE: 'this process has too many files open',
  EISDIR: 'a directory, not a file',
  EBUSY: 'in use',
  ENOTDIR: 'a part of the path is not a directory',
  ENOSPC: 'no space left',
  EROFS: 'the file system is read-only',
};

export const reasonOf = (error: unknown): string => {
  const code = (error as { code?: string }).code ?? '';
  return REASONS[code] ?? (error instanceof Error ? error.message : String(error));
};

/** Whether an error is the operating system's no to what was asked of it, or Node's to a name that no file can have. */
export const isSystemError = (error: unknown): boolean =>
  error instanceof Error && ('syscall' in error || (error as NodeJS.ErrnoException).code === 'ERR_INVALID_ARG_VALUE');

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

/**
 * A file that bytes are appended to, in pieces; throws `UsageError` when it cannot be opened. When it cannot take more (a full disk, a pipe that nobody reads any
 * more), the user is told once, and what follows is lost: the guest's device goes on.
 */
export class OutputFile {
  private readonly descriptor: number;
  private readonly pending = Buffer.alloc(4096);
  private used = 0;
  private failed = false;

  constructor(
    private readonly option: string,
    private readonly path: string,
    append = false,
  ) {
    try {
      this.descriptor = openSync(path, append ? 'a' : 'w');
    } catch (error) {
      throw new UsageError(`${option} ${path}: ${reasonOf(error)}; choose another file`);
    }
  }

  /** Reaches the file with the next turn of the event loop at the latest: a machine that is moved away leaves nothing unwritten here. */
  write(byte: number): void {
    if (this.used === 0) setImmediate(() => this.flush());
    this.pending[this.used++] = byte;
    if (this.used === this.pending.length || byte === 10) this.flush();
  }

  /** Writes through, without waiting for the end of a line. */
  append(bytes: Uint8Array): void {
    this.flush();
    this.pass(bytes);
  }

  print(text: string): void {
    for (const byte of Buffer.from(text)) {
      this.pending[this.used++] = byte;
      if (this.used === this.pending.length) this.flush();
    }
  }

  flush(): void {
    this.pass(this.pending.subarray(0, this.used));
    this.used = 0;
  }

  close(): void {
    this.flush();
    closeSync(this.descriptor);
  }

  private pass(bytes: Uint8Array): void {
    try {
      for (let at = 0; at < bytes.length && !this.failed; ) at += writeSync(this.descriptor, bytes, at, bytes.length - at);
    } catch (error) {
      this.failed = true;
      process.stderr.write(`nestvm: warning: ${this.option} ${this.path}: ${reasonOf(error)}; what follows is lost\r\n`);
    }
  }
}
