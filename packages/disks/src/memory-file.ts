import type { DiskFile } from './disk.js';

const CHUNK = 65536;

/** A sparse file in memory. */
export class MemoryFile implements DiskFile {
  #size: number;
  readonly #chunks = new Map<number, Uint8Array>();

  constructor(contents: Uint8Array | number = 0) {
    this.#size = typeof contents === 'number' ? contents : 0;
    if (typeof contents !== 'number') this.write(0, contents);
  }

  get sizeBytes(): number {
    return this.#size;
  }

  read(offset: number, into: Uint8Array): void {
    for (let at = 0; at < into.length; ) {
      const within = (offset + at) % CHUNK;
      const length = Math.min(CHUNK - within, into.length - at);
      const chunk = this.#chunks.get(Math.floor((offset + at) / CHUNK));
      const target = into.subarray(at, at + length);
      if (chunk) target.set(chunk.subarray(within, within + length));
      else target.fill(0);
      at += length;
    }
  }

  write(offset: number, from: Uint8Array): void {
    for (let at = 0; at < from.length; ) {
      const index = Math.floor((offset + at) / CHUNK);
      const within = (offset + at) % CHUNK;
      const length = Math.min(CHUNK - within, from.length - at);
      let chunk = this.#chunks.get(index);
      if (!chunk) this.#chunks.set(index, (chunk = new Uint8Array(CHUNK)));
      chunk.set(from.subarray(at, at + length), within);
      at += length;
    }
    this.#size = Math.max(this.#size, offset + from.length);
  }

  flush(): void {}

  truncate(sizeBytes: number): void {
    if (sizeBytes < this.#size) this.punch(sizeBytes, this.#size - sizeBytes);
    this.#size = sizeBytes;
  }

  punch(offset: number, lengthBytes: number): void {
    const first = Math.floor(offset / CHUNK);
    const last = Math.floor((offset + lengthBytes - 1) / CHUNK);
    for (const [index, chunk] of this.#chunks) {
      if (index < first || index > last) continue;
      const from = Math.max(0, offset - index * CHUNK);
      const to = Math.min(CHUNK, offset + lengthBytes - index * CHUNK);
      if (from === 0 && to === CHUNK) this.#chunks.delete(index);
      else chunk.fill(0, from, to);
    }
  }

  close(): void {}

  /** A copy of the whole file. */
  bytes(): Uint8Array {
    const all = new Uint8Array(this.#size);
    this.read(0, all);
    return all;
  }
}
