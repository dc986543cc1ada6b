/** I/O ports of a VGA ("IBM Personal System/2 Video Subsystem Technical Reference"), as offsets from 0x3c0. */
export const VgaPort = {
  ATTRIBUTE: 0x00,
  ATTRIBUTE_READ: 0x01,
  MISC_WRITE: 0x02,
  SEQUENCER_INDEX: 0x04,
  SEQUENCER: 0x05,
  DAC_MASK: 0x06,
  DAC_READ_INDEX: 0x07,
  DAC_WRITE_INDEX: 0x08,
  DAC: 0x09,
  FEATURE_READ: 0x0a,
  MISC_READ: 0x0c,
  GRAPHICS_INDEX: 0x0e,
  GRAPHICS: 0x0f,
} as const;
/** Ports of the CRT controller, as offsets from 0x3b0 (monochrome) or 0x3d0 (colour). */
export const CrtcPort = { INDEX: 0x04, DATA: 0x05, STATUS: 0x0a } as const;
/** First ports of the three groups, and their sizes. */
export const VGA_PORTS = { MONOCHROME: 0x3b0, BASE: 0x3c0, COLOUR: 0x3d0, GROUP: 16 } as const;

export const Misc = { COLOUR: 0x01, RAM: 0x02 } as const;
export const Sequencer = { RESET: 0, CLOCKING: 1, MAP_MASK: 2, FONTS: 3, MEMORY: 4, COUNT: 8 } as const;
export const Clocking = { DOTS_8: 0x01, HALF: 0x08, SCREEN_OFF: 0x20 } as const;
export const MemoryMode = { CHAIN_4: 0x08 } as const;
export const Graphics = {
  SET_RESET: 0,
  ENABLE_SET_RESET: 1,
  COMPARE: 2,
  ROTATE: 3,
  READ_MAP: 4,
  MODE: 5,
  MISC: 6,
  DONT_CARE: 7,
  BIT_MASK: 8,
  COUNT: 16,
} as const;
export const GraphicsMode = { READ_COMPARE: 0x08, ODD_EVEN: 0x10 } as const;
export const GraphicsMisc = { GRAPHICS: 0x01 } as const;
export const Crtc = {
  DISPLAY_END: 0x01,
  OVERFLOW: 0x07,
  MAXIMUM_SCAN: 0x09,
  CURSOR_START: 0x0a,
  CURSOR_END: 0x0b,
  START_HIGH: 0x0c,
  START_LOW: 0x0d,
  CURSOR_HIGH: 0x0e,
  CURSOR_LOW: 0x0f,
  RETRACE_END: 0x11,
  VERTICAL_END: 0x12,
  OFFSET: 0x13,
  MODE: 0x17,
  LINE_COMPARE: 0x18,
  COUNT: 32,
} as const;
/** Bit 7 of RETRACE_END protects registers 0 to 7; of OVERFLOW only the line compare bit stays writable. */
export const CRTC_PROTECT = 0x80;
export const LINE_COMPARE_BIT = 0x10;
export const Attribute = { MODE: 0x10, PLANES: 0x12, PANNING: 0x13, COLOUR_SELECT: 0x14, COUNT: 21 } as const;
export const AttributeMode = { BLINK: 0x08, NINTH_DOT: 0x04, PALETTE_54: 0x80 } as const;
/** Bit 5 of the attribute index lets the palette drive the screen. */
export const PALETTE_SOURCE = 0x20;
/** What of each sequencer and graphics register exists. */
export const SEQUENCER_MASKS = [0x03, 0x3d, 0x0f, 0x3f, 0x0e, 0x00, 0x00, 0xff] as const;
export const GRAPHICS_MASKS = [0x0f, 0x0f, 0x0f, 0x1f, 0x03, 0x7b, 0x0f, 0x0f, 0xff, 0, 0, 0, 0, 0, 0, 0] as const;
export const ATTRIBUTE_MASKS = [0xef, 0xff, 0x3f, 0x0f, 0x0f] as const;

/** Registers of the Bochs VBE extension ("Bochs VBE Display API"). */
export const Dispi = {
  ID: 0,
  WIDTH: 1,
  HEIGHT: 2,
  BPP: 3,
  ENABLE: 4,
  BANK: 5,
  VIRTUAL_WIDTH: 6,
  VIRTUAL_HEIGHT: 7,
  X: 8,
  Y: 9,
  MEMORY: 10,
  COUNT: 11,
} as const;
export const DispiEnable = { ENABLED: 0x01, CAPABILITIES: 0x02, DAC_8BIT: 0x20, NO_CLEAR: 0x80 } as const;
export const DISPI_ID = 0xb0c5;
export const DISPI_OLDEST_ID = 0xb0c0;
export const DISPI_MAXIMUM = { width: 16000, height: 12000, bpp: 32 } as const;
export const DISPI_PORTS = { INDEX: 0x1ce, SIZE: 3 } as const;
/** Memory-mapped registers: VGA ports from 0x3c0 on, then those of the VBE extension, 16 bits each. */
export const VgaMmio = { SIZE: 0x1000, PORTS: 0x400, PORTS_END: 0x420, DISPI: 0x500, EXTRA: 0x600 } as const;
