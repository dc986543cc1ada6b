/** Bytes that wait to be sent or acknowledged, oldest first. */
export class SendBuffer {
  readonly #pieces: Uint8Array[] = [];
  #skipped = 0;
  length = 0;

  push(bytes: Uint8Array): void {
    if (bytes.length === 0) return;
    this.#pieces.push(bytes);
    this.length += bytes.length;
  }

  /** Drops bytes from the front. */
  drop(count: number): void {
    this.length -= count;
    this.#skipped += count;
    let pieces = 0;
    while (pieces < this.#pieces.length && this.#skipped >= this.#pieces[pieces]!.length) this.#skipped -= this.#pieces[pieces++]!.length;
    this.#pieces.splice(0, pieces);
  }

  /** Copies bytes from `offset` into a target that is not longer than what is there. */
  copy(offset: number, target: Uint8Array): void {
    let skip = this.#skipped + offset;
    let done = 0;
    for (const piece of this.#pieces) {
      if (skip >= piece.length) {
        skip -= piece.length;
        continue;
      }
      const part = piece.subarray(skip, skip + target.length - done);
      target.set(part, done);
      done += part.length;
      skip = 0;
      if (done === target.length) return;
    }
  }
}
