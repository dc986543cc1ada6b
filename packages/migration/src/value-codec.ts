import type { SavedValue } from '@nestvm/state';
import { MigrationError } from './errors.js';

/**
 * Saved values as bytes: a tag, then little-endian payload. Integers up to 2^53 are `varint`s in zigzag, lists and objects carry their length. Objects keep
 * the order of their names, so equal states give equal bytes.
 */
const Tag = { NULL: 0, FALSE: 1, TRUE: 2, INTEGER: 3, DOUBLE: 4, BIGINT: 5, STRING: 6, BYTES: 7, LIST: 8, OBJECT: 9 } as const;

const MAX_DEPTH = 32;
const utf8 = new TextEncoder();

class Writer {
  private bytes = new Uint8Array(1024);
  private length = 0;

  take(): Uint8Array {
    return this.bytes.slice(0, this.length);
  }

  byte(value: number): void {
    this.room(1)[this.length++] = value;
  }

  raw(value: Uint8Array): void {
    this.room(value.length).set(value, this.length);
    this.length += value.length;
  }

  /** Seven bits at a time, low ones first. */
  varint(value: number): void {
    let rest = value;
    while (rest >= 0x80) {
      this.byte((rest % 0x80) | 0x80);
      rest = Math.floor(rest / 0x80);
    }
    this.byte(rest);
  }

  sized(value: Uint8Array): void {
    this.varint(value.length);
    this.raw(value);
  }

  private room(more: number): Uint8Array {
    if (this.length + more > this.bytes.length) {
      const grown = new Uint8Array(Math.max(this.bytes.length * 2, this.length + more));
      grown.set(this.bytes.subarray(0, this.length));
      this.bytes = grown;
    }
    return this.bytes;
  }
}

function writeNumber(out: Writer, value: number): void {
  if (Number.isSafeInteger(value) && Math.abs(value) < 2 ** 51 && !Object.is(value, -0)) {
    out.byte(Tag.INTEGER);
    out.varint(value < 0 ? -value * 2 - 1 : value * 2);
    return;
  }
  out.byte(Tag.DOUBLE);
  const bytes = new Uint8Array(8);
  new DataView(bytes.buffer).setFloat64(0, value, true);
  out.raw(bytes);
}

const word = new DataView(new ArrayBuffer(8));

/** The bytes of a magnitude, high ones first, without leading zeros. */
function bytesOf(magnitude: bigint): Uint8Array {
  if (magnitude >> 64n === 0n) {
    word.setBigUint64(0, magnitude);
    let start = 0;
    while (start < 7 && word.getUint8(start) === 0) start++;
    return new Uint8Array(word.buffer, start);
  }
  const hex = magnitude.toString(16);
  const even = hex.length % 2 === 1 ? `0${hex}` : hex;
  return Uint8Array.from({ length: even.length / 2 }, (_, i) => Number.parseInt(even.slice(2 * i, 2 * i + 2), 16));
}

function writeBigint(out: Writer, value: bigint): void {
  out.byte(Tag.BIGINT);
  out.byte(value < 0n ? 1 : 0);
  out.sized(bytesOf(value < 0n ? -value : value));
}

function writeValue(out: Writer, value: SavedValue): void {
  if (value === null) return out.byte(Tag.NULL);
  if (typeof value === 'boolean') return out.byte(value ? Tag.TRUE : Tag.FALSE);
  if (typeof value === 'number') return writeNumber(out, value);
  if (typeof value === 'bigint') return writeBigint(out, value);
  if (typeof value === 'string') {
    out.byte(Tag.STRING);
    return out.sized(utf8.encode(value));
  }
  if (value instanceof Uint8Array) {
    out.byte(Tag.BYTES);
    return out.sized(value);
  }
  if (Array.isArray(value)) {
    out.byte(Tag.LIST);
    out.varint(value.length);
    for (const element of value) writeValue(out, element as SavedValue);
    return;
  }
  const entries = Object.entries(value as { readonly [name: string]: SavedValue });
  out.byte(Tag.OBJECT);
  out.varint(entries.length);
  for (const [name, element] of entries) {
    out.sized(utf8.encode(name));
    writeValue(out, element);
  }
}

/** A saved value as bytes. */
export function encodeValue(value: SavedValue): Uint8Array {
  const out = new Writer();
  writeValue(out, value);
  return out.take();
}

class Reader {
  private at = 0;
  private readonly text = new TextDecoder('utf-8', { fatal: true });

  constructor(
    private readonly bytes: Uint8Array,
    private readonly bad: (what: string, offset: number) => MigrationError,
  ) {}

  get left(): number {
    return this.bytes.length - this.at;
  }

  fail(what: string): MigrationError {
    return this.bad(what, this.at);
  }

  byte(): number {
    if (this.left < 1) throw this.fail('ends inside of a value');
    return this.bytes[this.at++]!;
  }

  varint(): number {
    let value = 0;
    for (let scale = 1; scale < 2 ** 56; scale *= 0x80) {
      const byte = this.byte();
      value += (byte & 0x7f) * scale;
      if (byte < 0x80) {
        if (value > Number.MAX_SAFE_INTEGER) break;
        return value;
      }
    }
    throw this.fail('has a number of more than 53 bits');
  }

  sized(): Uint8Array {
    const length = this.varint();
    if (length > this.left) throw this.fail(`announces ${length} bytes where ${this.left} are left`);
    this.at += length;
    return this.bytes.subarray(this.at - length, this.at);
  }

  string(): string {
    const bytes = this.sized();
    try {
      return this.text.decode(bytes);
    } catch {
      throw this.fail('has a text that is not UTF-8');
    }
  }

  /** Each element takes a byte at least, so a count beyond what is left is a lie. */
  count(): number {
    const count = this.varint();
    if (count > this.left) throw this.fail(`announces ${count} elements where ${this.left} bytes are left`);
    return count;
  }

  value(depth: number): SavedValue {
    if (depth > MAX_DEPTH) throw this.fail(`nests deeper than ${MAX_DEPTH}`);
    switch (this.byte()) {
      case Tag.NULL:
        return null;
      case Tag.FALSE:
        return false;
      case Tag.TRUE:
        return true;
      case Tag.INTEGER: {
        const zigzag = this.varint();
        return zigzag % 2 === 0 ? zigzag / 2 : -(zigzag + 1) / 2;
      }
      case Tag.DOUBLE:
        return this.double();
      case Tag.BIGINT:
        return this.bigint();
      case Tag.STRING:
        return this.string();
      case Tag.BYTES:
        return this.sized().slice();
      case Tag.LIST:
        return Array.from({ length: this.count() }, () => this.value(depth + 1));
      case Tag.OBJECT:
        return this.object(depth);
      default:
        throw this.fail('has a value of an unknown kind');
    }
  }

  private double(): number {
    if (this.left < 8) throw this.fail('ends inside of a number');
    const value = new DataView(this.bytes.buffer, this.bytes.byteOffset + this.at, 8).getFloat64(0, true);
    this.at += 8;
    return value;
  }

  private bigint(): bigint {
    const negative = this.byte() === 1;
    const bytes = this.sized();
    if (bytes.length > 64) throw this.fail('has an integer of more than 512 bits');
    let value = 0n;
    for (const byte of bytes) value = (value << 8n) | BigInt(byte);
    return negative ? -value : value;
  }

  private object(depth: number): SavedValue {
    // A null prototype: names come from outside.
    const result: Record<string, SavedValue> = Object.create(null) as Record<string, SavedValue>;
    const count = this.count();
    for (let i = 0; i < count; i++) {
      const name = this.string();
      if (name in result) throw this.fail(`has the field "${name}" twice`);
      result[name] = this.value(depth + 1);
    }
    return result;
  }
}

/** The value in `bytes`, all of them; throws `MigrationError` (`corrupt`), whose offset counts from `base`. */
export function decodeValue(bytes: Uint8Array, what: string, base = 0): SavedValue {
  const reader = new Reader(
    bytes,
    (problem, offset) => new MigrationError('corrupt', `${what} ${problem} (at byte ${base + offset})`, { offset: base + offset }),
  );
  const value = reader.value(0);
  if (reader.left > 0) throw reader.fail(`has ${reader.left} bytes too many`);
  return value;
}
