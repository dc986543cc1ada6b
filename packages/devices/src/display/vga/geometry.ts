import { Attribute, AttributeMode, Clocking, Crtc, Dispi, Graphics, GraphicsMisc, PALETTE_SOURCE, Sequencer } from './registers.js';
import type { Vbe } from './vbe.js';

/** The registers of a VGA that say what it shows. */
export interface VgaRegisters {
  readonly sequencer: Uint8Array;
  readonly graphics: Uint8Array;
  readonly crtc: Uint8Array;
  readonly attribute: Uint8Array;
  /** As written to the attribute index port. */
  readonly attributeIndex: number;
  readonly vbe: Vbe;
}

/** Characters on the screen; video memory offsets count bytes of all four planes. */
export interface TextGeometry {
  readonly kind: 'text';
  readonly columns: number;
  readonly rows: number;
  readonly cellWidth: 8 | 9;
  readonly cellHeight: number;
  readonly start: number;
  readonly lineBytes: number;
  /** Cell of the cursor, -1 while it is off, and its first and last line. */
  readonly cursor: number;
  readonly cursorStart: number;
  readonly cursorEnd: number;
  readonly blink: boolean;
}

/** Pixels on the screen, from planes, pairs of bits, or bytes. */
export interface GraphicsGeometry {
  readonly kind: 'planes' | 'pairs' | 'bytes' | 'linear';
  readonly width: number;
  readonly height: number;
  readonly start: number;
  readonly lineBytes: number;
  /** Bits of a pixel, of `linear`. */
  readonly depth: number;
  /** Bits 13 and 14 of addresses come from the scan line (CGA and Hercules memory). */
  readonly interleave: number;
}

/** What is shown. */
export type Geometry = TextGeometry | GraphicsGeometry;

const SHIFT_256 = 2;
const SHIFT_PAIRS = 1;

/** Lines on the screen by the CRT controller. */
function linesOf(crtc: Uint8Array): number {
  const overflow = crtc[Crtc.OVERFLOW]!;
  return (crtc[Crtc.VERTICAL_END]! | ((overflow & 0x02) << 7) | ((overflow & 0x40) << 3)) + 1;
}

/** What the registers describe; undefined while the screen is off. */
export function geometryOf(registers: VgaRegisters): Geometry | undefined {
  const { sequencer, graphics, vbe, attributeIndex } = registers;
  if (vbe.linear) return linearGeometry(vbe);
  const off = (sequencer[Sequencer.CLOCKING]! & Clocking.SCREEN_OFF) !== 0 || (attributeIndex & PALETTE_SOURCE) === 0;
  if (off) return undefined;
  return (graphics[Graphics.MISC]! & GraphicsMisc.GRAPHICS) === 0 ? textGeometry(registers) : planarGeometry(registers);
}

function linearGeometry(vbe: Vbe): GraphicsGeometry | undefined {
  const [width, height] = [vbe.registers[Dispi.WIDTH]!, vbe.registers[Dispi.HEIGHT]!];
  if (width === 0 || height === 0) return undefined;
  const depth = vbe.registers[Dispi.BPP]!;
  return { kind: 'linear', width, height, start: vbe.start, lineBytes: vbe.lineBytes, depth, interleave: 0 };
}

const startOf = (crtc: Uint8Array): number => ((crtc[Crtc.START_HIGH]! << 8) | crtc[Crtc.START_LOW]!) * 4;

function textGeometry({ sequencer, crtc, attribute }: VgaRegisters): TextGeometry {
  const cellHeight = (crtc[Crtc.MAXIMUM_SCAN]! & 0x1f) + 1;
  const doubled = crtc[Crtc.MAXIMUM_SCAN]! & 0x80 ? 2 : 1;
  const on = (crtc[Crtc.CURSOR_START]! & 0x20) === 0;
  return {
    kind: 'text',
    columns: crtc[Crtc.DISPLAY_END]! + 1,
    rows: Math.max(1, Math.floor(linesOf(crtc) / doubled / cellHeight)),
    cellWidth: sequencer[Sequencer.CLOCKING]! & Clocking.DOTS_8 ? 8 : 9,
    cellHeight,
    start: startOf(crtc),
    lineBytes: crtc[Crtc.OFFSET]! * 8,
    cursor: on ? (crtc[Crtc.CURSOR_HIGH]! << 8) | crtc[Crtc.CURSOR_LOW]! : -1,
    cursorStart: crtc[Crtc.CURSOR_START]! & 0x1f,
    cursorEnd: crtc[Crtc.CURSOR_END]! & 0x1f,
    blink: (attribute[Attribute.MODE]! & AttributeMode.BLINK) !== 0,
  };
}

function planarGeometry({ graphics, crtc, vbe }: VgaRegisters): GraphicsGeometry | undefined {
  const shift = (graphics[Graphics.MODE]! >> 5) & 3;
  const characters = crtc[Crtc.DISPLAY_END]! + 1;
  const repeat = ((crtc[Crtc.MAXIMUM_SCAN]! & 0x1f) + 1) * (crtc[Crtc.MAXIMUM_SCAN]! & 0x80 ? 2 : 1);
  const interleave = ~crtc[Crtc.MODE]! & 3;
  // With the extension on, planes of any size.
  const wide = vbe.enabled ? { width: vbe.registers[Dispi.WIDTH]!, height: vbe.registers[Dispi.HEIGHT]! } : undefined;
  if (wide && wide.width * wide.height === 0) return undefined;
  const height = Math.max(1, Math.floor(linesOf(crtc) / (interleave === 0 ? repeat : Math.max(1, repeat / 2))));
  return {
    kind: shift >= SHIFT_256 ? 'bytes' : shift === SHIFT_PAIRS ? 'pairs' : 'planes',
    width: wide?.width ?? (shift >= SHIFT_256 ? characters * 4 : characters * 8),
    height: wide?.height ?? height,
    start: startOf(crtc),
    lineBytes: wide ? (wide.width / 8) * 4 : crtc[Crtc.OFFSET]! * 8,
    depth: 0,
    interleave,
  };
}
