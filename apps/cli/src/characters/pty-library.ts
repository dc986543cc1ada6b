import { createRequire } from 'node:module';
import { UsageError } from '../errors.js';

/** A new pseudo-terminal: descriptors of both its ends, the first of which does not block, and the name of the second. */
interface PtyPair {
  readonly master: number;
  readonly slave: number;
  readonly pty: string;
}

/** The part of the library's binary that opens a pair and starts no program; its JavaScript reads from both ends by itself. */
interface PtyBinary {
  open(columns: number, rows: number): PtyPair;
}

const LIBRARY = '@lydell/node-pty';

/** Opens a pseudo-terminal; throws `UsageError` that says what to do where the library or its binary for this system is absent. */
export function openPair(option: string): PtyPair {
  const binary = `${LIBRARY}-${process.platform}-${process.arch}`;
  let library: PtyBinary;
  try {
    const here = createRequire(import.meta.url);
    library = createRequire(here.resolve(LIBRARY))(`${binary}/pty.node`) as PtyBinary;
  } catch {
    throw new UsageError(
      `${option} pty: the optional package ${binary} is not installed; install with optional packages where ${process.platform} on ${process.arch} has one, or write unix:PATH or tcp:HOST:PORT in place of pty`,
    );
  }
  try {
    return library.open(80, 25);
  } catch (error) {
    throw new UsageError(`${option} pty: ${(error as Error).message}; has this host pseudo-terminals left?`);
  }
}
