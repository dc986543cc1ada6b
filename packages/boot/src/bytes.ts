/** Writes little-endian fields into a fixed buffer. */
export class ByteWriter {
  readonly bytes: Uint8Array;
  readonly view: DataView;
  constructor(size: number) {
    this.bytes = new Uint8Array(size);
    this.view = new DataView(this.bytes.buffer);
  }

  u8(at: number, value: number): void {
    this.view.setUint8(at, value);
  }

  u16(at: number, value: number): void {
    this.view.setUint16(at, value, true);
  }

  u32(at: number, value: number): void {
    this.view.setUint32(at, value >>> 0, true);
  }

  /** An integer below 2^53. */
  u64(at: number, value: number): void {
    this.u32(at, value % 2 ** 32);
    this.u32(at + 4, Math.floor(value / 2 ** 32));
  }

  text(at: number, text: string): void {
    this.bytes.set(latin1(text), at);
  }
}

/** A view over exactly these bytes. */
export const viewOf = (bytes: Uint8Array): DataView => new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);

/** A 64-bit little-endian field as a number; what is above 2^53 comes out as Infinity, so that range checks catch it. */
export function readU64(view: DataView, at: number): number {
  const high = view.getUint32(at + 4, true);
  return high >= 2 ** 21 ? Infinity : high * 2 ** 32 + view.getUint32(at, true);
}

/** Text as bytes: UTF-8, which leaves ASCII as it is. */
export const latin1 = (text: string): Uint8Array => new TextEncoder().encode(text);

/** The same with a terminating zero. */
export const zeroTerminated = (text: string): Uint8Array => {
  const bytes = latin1(text);
  const out = new Uint8Array(bytes.length + 1);
  out.set(bytes);
  return out;
};

export const alignUp = (value: number, alignment: number): number => Math.ceil(value / alignment) * alignment;
export const alignDown = (value: number, alignment: number): number => Math.floor(value / alignment) * alignment;
export const hex = (value: number): string => `0x${value.toString(16)}`;
export const mebibytes = (bytes: number): string =>
  bytes < 2 ** 20 ? `${Math.ceil(bytes / 1024)} KiB` : `${(bytes / 2 ** 20).toFixed(1).replace(/\.0$/, '')} MiB`;
