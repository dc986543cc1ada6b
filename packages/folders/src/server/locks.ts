import { LockType } from '../protocol/messages.js';

/** A record lock (`fcntl(2)`): the bytes from `start` on, up to but not including `end`. */
export interface RecordLock {
  readonly type: number;
  readonly start: number;
  readonly end: number;
  readonly process: number;
  readonly client: string;
}

const sameOwner = (a: RecordLock, b: RecordLock): boolean => a.process === b.process && a.client === b.client;
const overlap = (a: RecordLock, b: RecordLock): boolean => a.start < b.end && b.start < a.end;

/** Most locks on one file. */
const MOST_LOCKS = 1024;

/** The record locks of one server, by file. */
export class LockTable {
  private readonly files = new Map<string, RecordLock[]>();

  /** The lock of somebody else that stands in the way. */
  conflict(file: string, wanted: RecordLock): RecordLock | undefined {
    return this.files
      .get(file)
      ?.find((held) => !sameOwner(held, wanted) && overlap(held, wanted) && (held.type === LockType.WRITE || wanted.type === LockType.WRITE));
  }

  /** Sets or removes a lock; what its owner held on the same bytes gives way. False: there are too many. */
  set(file: string, lock: RecordLock): boolean {
    const locks = (this.files.get(file) ?? []).flatMap((held) => (sameOwner(held, lock) && overlap(held, lock) ? without(held, lock) : [held]));
    if (lock.type !== LockType.UNLOCK) locks.push(lock);
    if (locks.length > MOST_LOCKS) return false;
    if (locks.length === 0) this.files.delete(file);
    else this.files.set(file, locks);
    return true;
  }

  /** All locks as plain data: one to the end of a file has no `end`. */
  entries(): (readonly [file: string, locks: RecordLock[]])[] {
    return [...this.files].map(([file, locks]) => [file, locks.map((lock) => ({ ...lock }))]);
  }

  /** Puts back what `entries` gave, after a way through JSON; what is no lock is left out. */
  restore(entries: readonly unknown[]): void {
    this.files.clear();
    for (const entry of entries) {
      const [file, locks] = Array.isArray(entry) ? (entry as unknown[]) : [];
      if (typeof file !== 'string' || !Array.isArray(locks)) continue;
      for (const lock of locks as Partial<RecordLock>[]) {
        const { type, start, end, process, client } = lock;
        if (typeof type === 'number' && typeof start === 'number' && typeof process === 'number' && typeof client === 'string')
          this.set(file, { type, start, end: typeof end === 'number' ? end : Infinity, process, client });
      }
    }
  }

  clear(): void {
    this.files.clear();
  }
}

/** What is left of a lock beside another. */
function without(held: RecordLock, { start, end }: RecordLock): RecordLock[] {
  return [
    { ...held, end: Math.min(held.end, start) },
    { ...held, start: Math.max(held.start, end) },
  ].filter((rest) => rest.start < rest.end);
}
