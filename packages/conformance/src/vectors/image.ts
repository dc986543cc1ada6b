/**
 * The image of one vector: every register that user code sees, then a window of memory, in one run of bytes. Cases are stored
 * as differences between images. The layout is fixed; `tools/vectors/harness.c` states the same offsets.
 */
export const Image = {
  /** RAX … R15, 8 bytes each, little-endian, in the numbering of ModRM. */
  gpr: 0,
  rip: 128,
  /** RFLAGS: CF PF AF ZF SF IF DF OF AC ID; bit 1 is set, everything else is zero. */
  rflags: 136,
  gsBase: 144,
  fsBase: 152,
  /** u32. */
  mxcsr: 160,
  /** u16. */
  fcw: 164,
  /** u16, TOP included. */
  fsw: 166,
  /** u8: the abridged tag word, bit i set when physical register Ri is not empty. */
  ftag: 168,
  /** Physical registers R0 … R7, 16 bytes apart: significand, sign and exponent. */
  fpr: 176,
  /** YMM0 … YMM15, 32 bytes each. */
  vec: 304,
  /** The window of memory. */
  memory: 832,
  size: 832 + 0x2000,
} as const;

/** Linear addresses of what a vector runs in. The pages next to the window and to the code are not mapped. */
export const Place = {
  /** Two pages, all INT3 (0xCC) except for the instruction. */
  code: 0x3000,
  codeBytes: 0x2000,
  /** Where the instruction is. */
  start: 0x3800,
  /** Two pages of data, readable and writable. */
  window: 0x8000,
  windowBytes: 0x2000,
} as const;

/** RFLAGS bits that an image holds. */
export const KEPT_FLAGS = 0x240ed5;

/** The code segment's kind: 64-bit, or a flat 32-bit one in compatibility mode, or a 16-bit one (CS and SS with base 0, limit 0xffff; DS, ES flat). */
export type VectorMode = 64 | 32 | 16;

/** Selectors while a case runs (PUSH and MOV from segment registers show them); GS and FS are null with a base of their own in 64-bit mode. */
export function selectorsOf(mode: VectorMode): { cs: number; ss: number; ds: number; es: number; fs: number; gs: number } {
  const data = 0x2b;
  if (mode === 16) return { cs: 0x07, ss: 0x0f, ds: data, es: data, fs: 0, gs: 0 };
  return { cs: mode === 64 ? 0x33 : 0x23, ss: data, ds: data, es: data, fs: 0, gs: 0 };
}
