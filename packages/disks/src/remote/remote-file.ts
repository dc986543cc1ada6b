import type { DiskFile } from '../disk.js';
import { DiskError } from '../errors.js';
import type { ByteSource } from './source.js';

const BLOCK = 0x1_0000;
/** Longest range that is asked for at once. */
const MOST_BLOCKS = 16;
/** Least that a cache holds. */
const LEAST_CACHED = 4 * MOST_BLOCKS;

/** Thrown by `RemoteFile.read` for bytes that are not here yet: `fetch` brings them, then read again. */
export class MissingBytes extends Error {
  constructor(readonly fetch: () => Promise<void>) {
    super('bytes of a remote file are not here yet');
  }
}

/**
 * A file whose bytes are far away, with those that were read lately in memory. Reading is synchronous, as images want it: what is not here throws
 * `MissingBytes`, and the whole access is repeated once that is.
 */
export class RemoteFile implements DiskFile {
  /** Blocks by number, the one that was used last at the end. */
  readonly #blocks = new Map<number, Uint8Array>();
  readonly #underway = new Map<number, Promise<void>>();
  readonly #mostBlocks: number;
  /** What was fetched last, and how far ahead of a reader that goes on in there to fetch. */
  #from = -1;
  #to = -1;
  #ahead = 0;

  constructor(
    readonly source: ByteSource,
    cacheBytes: number,
  ) {
    this.#mostBlocks = Math.max(LEAST_CACHED, Math.floor(cacheBytes / BLOCK));
  }

  get sizeBytes(): number {
    return this.source.sizeBytes;
  }

  /** Bytes of memory that the cache holds. */
  get heldBytes(): number {
    return this.#blocks.size * BLOCK;
  }

  /** Fills `into`; throws `MissingBytes`. */
  read(offset: number, into: Uint8Array): void {
    const end = Math.min(offset + into.length, this.sizeBytes);
    into.fill(0, Math.max(0, end - offset));
    if (end <= offset) return;
    const first = Math.floor(offset / BLOCK);
    const last = Math.floor((end - 1) / BLOCK);
    for (let block = first; block <= last; block++) if (!this.#blocks.has(block)) throw new MissingBytes(() => this.#fetch(first, last));
    for (let block = first; block <= last; block++) {
      const bytes = this.#use(block);
      const start = block * BLOCK;
      const from = Math.max(offset, start);
      into.set(bytes.subarray(from - start, Math.min(end, start + BLOCK) - start), from - offset);
    }
  }

  write(): void {
    throw new DiskError('read-only', `${this.source.name}: a file on a web server cannot be written; keep changes in memory (snapshot=on)`);
  }

  flush(): void {}

  truncate(): void {
    this.write();
  }

  /** Keeps the blocks: an image that lacked bytes while it was opened is closed, and opened again. */
  close(): void {}

  /** Lets go of what the cache has too much of. Not done while somebody still collects what an access needs. */
  trim(): void {
    for (const block of this.#blocks.keys()) {
      if (this.#blocks.size <= this.#mostBlocks) return;
      this.#blocks.delete(block);
    }
  }

  #use(block: number): Uint8Array {
    const bytes = this.#blocks.get(block)!;
    this.#blocks.delete(block);
    this.#blocks.set(block, bytes);
    return bytes;
  }

  /** Brings the blocks that are missing from `first` to `last`, and some more for one who reads on and on. */
  async #fetch(first: number, last: number): Promise<void> {
    const goesOn = first >= this.#from && first <= this.#to;
    this.#ahead = goesOn ? Math.min(MOST_BLOCKS, Math.max(1, 2 * this.#ahead)) : 0;
    const end = Math.min(last + this.#ahead, Math.ceil(this.sizeBytes / BLOCK) - 1);
    this.#from = first;
    this.#to = end + 1;
    const waits: Promise<void>[] = [];
    for (let block = first; block <= end; ) {
      let count = 0;
      while (block + count <= end && count < MOST_BLOCKS && !this.#blocks.has(block + count) && !this.#underway.has(block + count)) count++;
      if (count > 0) waits.push(this.#bring(block, count));
      else if (block <= last && this.#underway.has(block)) waits.push(this.#underway.get(block)!);
      block += Math.max(1, count);
    }
    await Promise.all(waits);
  }

  #bring(block: number, count: number): Promise<void> {
    const start = block * BLOCK;
    const arriving = this.source
      .read(start, Math.min(count * BLOCK, this.sizeBytes - start))
      .then((bytes) => {
        for (let i = 0; i < count; i++) this.#blocks.set(block + i, bytes.slice(i * BLOCK, (i + 1) * BLOCK));
      })
      .finally(() => {
        for (let i = 0; i < count; i++) this.#underway.delete(block + i);
      });
    for (let i = 0; i < count; i++) this.#underway.set(block + i, arriving);
    return arriving;
  }
}
