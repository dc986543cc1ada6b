import { VectorError } from './errors.js';

/** A growing run of bytes with the few encodings that vector files use. */
export class ByteWriter {
  #bytes = new Uint8Array(1 << 16);
  length = 0;

  u8(value: number): void {
    this.#room(1)[this.length++] = value;
  }

  /** Little-endian base 128; `value` is below 2^53. */
  varint(value: number): void {
    let rest = value;
    while (rest >= 0x80) {
      this.u8((rest % 0x80) | 0x80);
      rest = Math.floor(rest / 0x80);
    }
    this.u8(rest);
  }

  bytes(source: Uint8Array): void {
    this.#room(source.length).set(source, this.length);
    this.length += source.length;
  }

  finish(): Uint8Array {
    return this.#bytes.slice(0, this.length);
  }

  #room(count: number): Uint8Array {
    if (this.length + count > this.#bytes.length) {
      const grown = new Uint8Array(Math.max(this.#bytes.length * 2, this.length + count));
      grown.set(this.#bytes);
      this.#bytes = grown;
    }
    return this.#bytes;
  }
}

/** Reads what {@link ByteWriter} wrote; reading beyond the end is a `truncated` error. */
export class ByteReader {
  readonly #bytes: Uint8Array;
  position: number;

  constructor(bytes: Uint8Array, position = 0) {
    this.#bytes = bytes;
    this.position = position;
  }

  get atEnd(): boolean {
    return this.position >= this.#bytes.length;
  }

  u8(): number {
    if (this.atEnd) throw new VectorError('truncated', `The vector file ends at byte ${this.#bytes.length}, within a case; capture it again.`);
    return this.#bytes[this.position++];
  }

  varint(): number {
    let value = 0;
    for (let scale = 1; ; scale *= 0x80) {
      const byte = this.u8();
      value += (byte & 0x7f) * scale;
      if (byte < 0x80) return value;
    }
  }

  /** A view, not a copy. */
  bytes(count: number): Uint8Array {
    if (this.position + count > this.#bytes.length) {
      throw new VectorError('truncated', `The vector file ends at byte ${this.#bytes.length}, within a case; capture it again.`);
    }
    this.position += count;
    return this.#bytes.subarray(this.position - count, this.position);
  }
}
