import { FileError } from '../errors.js';

/** Reads the fields of a request, in order; throws `FileError` (`EPROTO`) where there are no more. */
export class MessageReader {
  private readonly view: DataView;
  private at = 0;
  private end = 0;

  constructor(private readonly bytes: Uint8Array) {
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  }

  /** Starts at the first field of a message of `length` bytes. */
  rewind(first: number, length: number): void {
    this.at = first;
    this.end = length;
  }

  u8(): number {
    return this.view.getUint8(this.take(1));
  }

  u16(): number {
    return this.view.getUint16(this.take(2), true);
  }

  u32(): number {
    return this.view.getUint32(this.take(4), true);
  }

  /** Throws `EOVERFLOW` for what a number cannot hold exactly: no file has such a size. */
  u64(): number {
    const value = this.wide();
    if (!Number.isSafeInteger(value)) throw new FileError('EOVERFLOW');
    return value;
  }

  /** A number that may be rounded, or anything while it does not count. */
  wide(): number {
    const at = this.take(8);
    return this.view.getUint32(at + 4, true) * 2 ** 32 + this.view.getUint32(at, true);
  }

  /** A byte string. */
  text(): string {
    const length = this.u16();
    const at = this.take(length);
    let text = '';
    for (let i = at; i < at + length; i++) text += String.fromCharCode(this.bytes[i]!);
    return text;
  }

  private take(length: number): number {
    const { at } = this;
    if (at + length > this.end) throw new FileError('EPROTO');
    this.at = at + length;
    return at;
  }
}
