import type { Picture } from '../display.js';
import type { Dac } from './dac.js';
import { type GraphicsGeometry, geometryOf, type TextGeometry, type VgaRegisters } from './geometry.js';
import { Attribute, AttributeMode, Sequencer } from './registers.js';

/** What a picture is made of. */
export interface PictureParts extends VgaRegisters {
  readonly memory: Uint8Array;
  readonly dac: Dac;
}

/** A font takes 32 bytes a character in plane 2; eight of them fit, in this order of the select bits. */
const FONT_BYTES = 0x2000;
const GLYPH_BYTES = 32;
const fontOffset = (select: number): number => FONT_BYTES * ((select & 3) * 2 + (select >> 2));
const OPAQUE = 0xff00_0000;

/** The palette as pixels: 256 colours of the DAC. */
function palette({ dac, vbe }: PictureParts): Uint32Array {
  const wide = vbe.enabled && vbe.dac8;
  const level = (value: number): number => (wide ? value : ((value << 2) | (value >> 4)) & 0xff);
  return Uint32Array.from(
    { length: 256 },
    (_, i) => (OPAQUE | level(dac.colours[3 * i]!) | (level(dac.colours[3 * i + 1]!) << 8) | (level(dac.colours[3 * i + 2]!) << 16)) >>> 0,
  );
}

/** The 16 colours of the attribute controller as pixels. */
function sixteen(parts: PictureParts): Uint32Array {
  const { attribute, dac } = parts;
  const colours = palette(parts);
  const select = attribute[Attribute.COLOUR_SELECT]!;
  const short = (attribute[Attribute.MODE]! & AttributeMode.PALETTE_54) !== 0;
  return Uint32Array.from({ length: 16 }, (_, i) => {
    const value = attribute[i]!;
    const index = short ? ((select & 15) << 4) | (value & 15) : ((select & 12) << 4) | (value & 63);
    return colours[index & dac.mask]!;
  });
}

/** The picture that a VGA shows; undefined while its screen is off. */
export function renderVga(parts: PictureParts): Picture | undefined {
  const geometry = geometryOf(parts);
  if (geometry === undefined) return undefined;
  const text = geometry.kind === 'text';
  const width = text ? geometry.columns * geometry.cellWidth : geometry.width;
  const height = text ? geometry.rows * geometry.cellHeight : geometry.height;
  const pixels = new Uint8Array(width * height * 4);
  const target = new Uint32Array(pixels.buffer);
  if (text) drawText(parts, geometry, target, width);
  else if (geometry.kind === 'linear') drawLinear(parts, geometry, target);
  else drawIndexed(parts, geometry, target);
  return { width, height, pixels };
}

function drawText(parts: PictureParts, geometry: TextGeometry, target: Uint32Array, width: number): void {
  const { memory, sequencer } = parts;
  const { columns, rows, cellWidth, cellHeight, start, lineBytes, cursor } = geometry;
  const colours = sixteen(parts);
  const select = sequencer[Sequencer.FONTS]!;
  const fonts = [fontOffset((select & 3) | ((select >> 2) & 4)), fontOffset(((select >> 2) & 3) | ((select >> 3) & 4))];
  const nine = cellWidth === 9 && (parts.attribute[Attribute.MODE]! & AttributeMode.NINTH_DOT) !== 0;
  for (let row = 0; row < rows; row++) {
    for (let column = 0; column < columns; column++) {
      const at = (start + row * lineBytes + column * 4) % memory.length;
      const [character, attribute] = [memory[at]!, memory[at + 1]!];
      const font = fonts[fonts[0] !== fonts[1] && (attribute & 8) === 0 ? 0 : 1]!;
      const foreground = colours[attribute & 15]!;
      const background = colours[(attribute >> 4) & (geometry.blink ? 7 : 15)]!;
      for (let line = 0; line < cellHeight; line++) {
        let bits = memory[((font + character * GLYPH_BYTES + line) * 4 + 2) % memory.length]! << 1;
        // The ninth dot of line-drawing characters continues the eighth.
        if (nine && character >= 0xc0 && character < 0xe0) bits |= (bits >> 1) & 1;
        if (at / 4 === cursor && line >= geometry.cursorStart && line <= geometry.cursorEnd) bits = 0x1ff;
        let to = (row * cellHeight + line) * width + column * cellWidth;
        for (let dot = 8; dot > 8 - cellWidth; dot--) target[to++] = bits & (1 << dot) ? foreground : background;
      }
    }
  }
}

/** Modes with a palette: planes, pairs of bits as on a CGA, bytes. */
function drawIndexed(parts: PictureParts, { kind, width, height, start, lineBytes, interleave }: GraphicsGeometry, target: Uint32Array): void {
  const { memory, attribute } = parts;
  const colours = kind === 'bytes' ? palette(parts) : sixteen(parts);
  const enabled = attribute[Attribute.PLANES]! & 15;
  for (let y = 0, to = 0; y < height; y++) {
    let line = start;
    if (interleave === 0) line += y * lineBytes;
    else line += (y >> 1) * lineBytes + (y & 1) * 0x2000 * 4;
    for (let x = 0; x < width; x++) target[to++] = colours[indexAt(kind, memory, line, x) & (kind === 'bytes' ? 0xff : enabled)]!;
  }
}

function indexAt(kind: GraphicsGeometry['kind'], memory: Uint8Array, line: number, x: number): number {
  if (kind === 'bytes') return memory[(line + x) % memory.length]!;
  const at = (line + (x >> 3) * 4) % memory.length;
  // Pairs: even bytes lie in plane 0, odd ones in plane 1.
  if (kind === 'pairs') return (memory[at + ((x >> 2) & 1)]! >> (2 * (3 - (x & 3)))) & 3;
  const bit = 7 - (x & 7);
  let index = 0;
  for (let plane = 0; plane < 4; plane++) index |= ((memory[at + plane]! >> bit) & 1) << plane;
  return index;
}

function drawLinear(parts: PictureParts, { width, height, start, lineBytes, depth }: GraphicsGeometry, target: Uint32Array): void {
  const { memory } = parts;
  const colours = depth === 8 ? palette(parts) : undefined;
  const pixelBytes = (depth + 7) >> 3;
  for (let y = 0, to = 0; y < height; y++) {
    for (let x = 0, at = start + y * lineBytes; x < width; x++, at += pixelBytes)
      target[to++] = colours ? colours[memory[at]!]! : pixelAt(memory, at, depth);
  }
}

/** A pixel that holds its colour: blue lowest. */
function pixelAt(memory: Uint8Array, at: number, depth: number): number {
  const [low, high] = [memory[at] ?? 0, memory[at + 1] ?? 0];
  if (depth >= 24) return (OPAQUE | (memory[at + 2] ?? 0) | (high << 8) | (low << 16)) >>> 0;
  const word = low | (high << 8);
  const greenBits = depth === 16 ? 6 : 5;
  const blue = (word & 31) << 3;
  const green = ((word >> 5) << (8 - greenBits)) & 0xff;
  const red = ((word >> (5 + greenBits)) & 31) << 3;
  return (OPAQUE | red | (red >> 5) | ((green | (green >> greenBits)) << 8) | ((blue | (blue >> 5)) << 16)) >>> 0;
}
