import { FileError } from '../errors.js';
import { HEADER_BYTES } from './messages.js';

/** Identity of a file in answers: kind, version, and a number of 64 bits as two words. */
export interface Qid {
  readonly type: number;
  readonly version: number;
  readonly low: number;
  readonly high: number;
}

/** Writes an answer field by field. */
export class MessageWriter {
  readonly bytes: Uint8Array;
  private readonly view: DataView;
  /** Bytes so far. */
  length = HEADER_BYTES;
  /** Bytes behind them that were put in place already. */
  payloadBytes = 0;

  constructor(size: number) {
    this.bytes = new Uint8Array(size);
    this.view = new DataView(this.bytes.buffer);
  }

  restart(): void {
    this.length = HEADER_BYTES;
    this.payloadBytes = 0;
  }

  /** Fills in size, type and tag; returns the whole size. */
  finish(type: number, tag: number): number {
    const size = this.length + this.payloadBytes;
    this.view.setUint32(0, size, true);
    this.view.setUint8(4, type);
    this.view.setUint16(5, tag, true);
    return size;
  }

  u8(value: number): void {
    this.view.setUint8(this.room(1), value);
  }

  u16(value: number): void {
    this.view.setUint16(this.room(2), value, true);
  }

  u32(value: number): void {
    this.view.setUint32(this.room(4), value, true);
  }

  u64(value: number): void {
    const at = this.room(8);
    this.view.setUint32(at, value % 2 ** 32, true);
    this.view.setUint32(at + 4, Math.floor(value / 2 ** 32), true);
  }

  text(text: string): void {
    this.u16(text.length);
    const at = this.room(text.length);
    for (let i = 0; i < text.length; i++) this.bytes[at + i] = text.charCodeAt(i);
  }

  qid({ type, version, low, high }: Qid): void {
    this.u8(type);
    this.u32(version);
    this.u32(low);
    this.u32(high);
  }

  /** Sets a word that was written before. */
  patchU32(at: number, value: number): void {
    this.view.setUint32(at, value, true);
  }

  private room(length: number): number {
    const at = this.length;
    if (at + length > this.bytes.length) throw new FileError('EMSGSIZE');
    this.length = at + length;
    return at;
  }
}
