const EDID_BYTES = 128;
/** "NVM" in five bits for each letter. */
const MANUFACTURER = (14 << 10) | (22 << 5) | 13;
const DOTS_PER_INCH = 96;
const REFRESHES = 60;

/** Blanking around the picture, in pixels and lines: enough for any monitor that there is not. */
const BLANK = { horizontal: 160, vertical: 40 } as const;

/** What a monitor of this size says of itself ("VESA Enhanced Extended Display Identification Data Standard"). */
export function createEdid(width: number, height: number): Uint8Array {
  const edid = new Uint8Array(EDID_BYTES);
  const millimetres = (pixels: number): number => Math.round((pixels * 25.4) / DOTS_PER_INCH);
  edid.set([0, 255, 255, 255, 255, 255, 255, 0, MANUFACTURER >> 8, MANUFACTURER & 255, 1, 0, 0, 0, 0, 0, 1, 34, 1, 4]);
  // Digital, size in centimetres, gamma 2.2, RGB with a preferred timing.
  edid.set([0xa5, Math.round(millimetres(width) / 10), Math.round(millimetres(height) / 10), 120, 0x06], 20);
  edid.fill(1, 38, 54);
  edid.set(timing(width, height, millimetres(width), millimetres(height)), 54);
  edid.set(text(0xfc, 'Nestvm'), 72);
  edid.set([0, 0, 0, 0x10], 90);
  edid.set([0, 0, 0, 0x10], 108);
  edid[127] = (256 - (edid.reduce((sum, byte) => sum + byte, 0) & 255)) & 255;
  return edid;
}

/** A detailed timing. */
function timing(width: number, height: number, widthMm: number, heightMm: number): number[] {
  const { horizontal, vertical } = BLANK;
  const clock = Math.min(0xffff, Math.round(((width + horizontal) * (height + vertical) * REFRESHES) / 10_000));
  const high = (a: number, b: number): number => ((a >> 8) << 4) | (b >> 8);
  // biome-ignore format: a table
  return [
    clock & 255, clock >> 8, width & 255, horizontal, high(width, horizontal), height & 255, vertical, high(height, vertical),
    // Front porch and pulse: 48 and 32 pixels, 3 and 6 lines.
    48, 32, (3 << 4) | 6, 0, widthMm & 255, heightMm & 255, high(widthMm, heightMm), 0, 0, 0x1e,
  ];
}

/** A descriptor with text. */
const text = (kind: number, words: string): number[] => [0, 0, 0, kind, 0, ...Array.from(`${words}\n`.padEnd(13), (letter) => letter.charCodeAt(0))];
