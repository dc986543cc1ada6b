/** Room at first; an emptied buffer that has grown beyond `LARGEST_KEPT` is given back. */
const LEAST_BYTES = 4096;
const LARGEST_KEPT = 2 ** 20;

/** Bytes that wait to be sent or acknowledged, oldest first: a ring, which grows by doubling. */
export class SendBuffer {
  #ring = new Uint8Array(0);
  #start = 0;
  #length = 0;

  get length(): number {
    return this.#length;
  }

  /** Takes a copy of bytes. */
  push(bytes: Uint8Array): void {
    if (this.#length + bytes.length > this.#ring.length) this.#grow(this.#length + bytes.length);
    const ring = this.#ring;
    const at = (this.#start + this.#length) & (ring.length - 1);
    const first = Math.min(bytes.length, ring.length - at);
    if (first === bytes.length) ring.set(bytes, at);
    else {
      ring.set(bytes.subarray(0, first), at);
      ring.set(bytes.subarray(first), 0);
    }
    this.#length += bytes.length;
  }

  /** Drops bytes from the front. */
  drop(count: number): void {
    this.#length -= count;
    this.#start = this.#length === 0 ? 0 : (this.#start + count) & (this.#ring.length - 1);
    if (this.#length === 0 && this.#ring.length > LARGEST_KEPT) this.#ring = new Uint8Array(0);
  }

  /** Copies bytes from `offset` into a target that is not longer than what is there. */
  copy(offset: number, target: Uint8Array): void {
    const ring = this.#ring;
    const at = (this.#start + offset) & (ring.length - 1);
    const first = Math.min(target.length, ring.length - at);
    target.set(ring.subarray(at, at + first));
    if (first < target.length) target.set(ring.subarray(0, target.length - first), first);
  }

  #grow(least: number): void {
    let size = Math.max(LEAST_BYTES, this.#ring.length);
    while (size < least) size *= 2;
    const ring = new Uint8Array(size);
    this.copy(0, ring.subarray(0, this.#length));
    this.#ring = ring;
    this.#start = 0;
  }
}
