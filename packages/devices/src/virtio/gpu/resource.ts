import type { GuestMemory } from '@nestvm/bus';
import { pixelFormats } from './registers.js';

/** A part of a picture. */
export interface Rectangle {
  readonly x: number;
  readonly y: number;
  readonly width: number;
  readonly height: number;
}

/** Guest memory that a resource is copied from. */
export interface BackingEntry {
  readonly address: number;
  readonly length: number;
}

const PIXEL_BYTES = 4;

/** A picture that the guest has made: pixels here, and the guest memory that they come from. */
export class Resource {
  readonly pixels: Uint8Array;
  backing: readonly BackingEntry[] | undefined;
  /** The pixels are to be read again: it was loaded, and they were not saved. */
  stale = false;

  constructor(
    readonly format: number,
    readonly width: number,
    readonly height: number,
  ) {
    this.pixels = new Uint8Array(Resource.bytesOf(width, height));
  }

  static bytesOf(width: number, height: number): number {
    return width * height * PIXEL_BYTES;
  }

  /** Whether a part lies inside. */
  holds({ x, y, width, height }: Rectangle): boolean {
    return x + width <= this.width && y + height <= this.height;
  }

  /** Copies a part from guest memory, where it begins at `offset`; its lines are as far apart as those of the whole. */
  transfer(memory: GuestMemory, { x, y, width, height }: Rectangle, offset: number): void {
    const stride = this.width * PIXEL_BYTES;
    const whole = x === 0 && width === this.width;
    const lines = whole ? 1 : height;
    const length = whole ? stride * height : width * PIXEL_BYTES;
    const entries = this.backing ?? [];
    let entry = 0;
    let start = 0;
    for (let line = 0; line < lines; line++) {
      let from = offset + line * stride;
      const to = (y + line) * stride + x * PIXEL_BYTES;
      for (let done = 0; done < length && entry < entries.length; ) {
        const { address, length: size } = entries[entry]!;
        if (from >= start + size) {
          start += size;
          entry++;
          continue;
        }
        const part = Math.min(length - done, start + size - from);
        memory.read(address + from - start, this.pixels.subarray(to + done, to + done + part));
        done += part;
        from += part;
      }
    }
  }

  /** A part as red, green, blue and 255. */
  show({ x, y, width, height }: Rectangle): Uint8Array {
    const { pixels } = this;
    const [red, green, blue] = pixelFormats[this.format]!;
    const shown = new Uint8Array(Resource.bytesOf(width, height));
    let to = 0;
    for (let line = 0; line < height; line++) {
      let from = ((y + line) * this.width + x) * PIXEL_BYTES;
      for (let column = 0; column < width; column++, from += PIXEL_BYTES, to += PIXEL_BYTES) {
        shown[to] = pixels[from + red]!;
        shown[to + 1] = pixels[from + green]!;
        shown[to + 2] = pixels[from + blue]!;
        shown[to + 3] = 255;
      }
    }
    return shown;
  }
}
