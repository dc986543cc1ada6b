import type { VectorCase } from './format.js';
import { Image, KEPT_FLAGS, type VectorMode } from './image.js';
import { type ShiftFacts, type Tolerance, toleranceOf, undefinedConditions, undefinedDestination, undefinedFlags } from './undefined.js';

const PREFIXES = new Set([0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65, 0x66, 0x67, 0xf0, 0xf2, 0xf3]);
const SHIFTS = /^(ROL|ROR|RCL|RCR|SHL|SAL|SHR|SAR|SHLD|SHRD) /;

/** The mnemonic of a form's name. */
export function mnemonicOf(name: string): string {
  return name.split(' ', 1)[0];
}

/** Count and width of a shift or rotate, read from the bytes and the registers before it; null for other instructions. */
function shiftFacts(name: string, test: VectorCase, before: Uint8Array): ShiftFacts | null {
  if (!SHIFTS.test(name)) return null;
  const width = /r\/m(8|16|32|64)/.exec(name);
  let count = 1;
  if (/, CL\b/.test(name)) count = before[Image.gpr + 8];
  else if (/, imm8/.test(name)) count = test.code[test.code.length - 1];
  return { mnemonic: mnemonicOf(name), bits: Number(width?.[1] ?? 32), count };
}

/** The image offset and length of the register that ModRM.rm names (16-bit double shifts); null for memory, whose bytes `ignore` cannot know. */
function rmRegister(test: VectorCase, mode64: boolean): { offset: number; length: number } | null {
  let at = 0;
  while (PREFIXES.has(test.code[at])) at++;
  let extension = 0;
  if (mode64 && (test.code[at] & 0xf0) === 0x40) extension = (test.code[at++] & 1) << 3;
  const modrm = test.code[at + 2];
  return modrm >= 0xc0 ? { offset: Image.gpr + 8 * ((modrm & 7) | extension), length: 2 } : null;
}

/** C1 and PE: a result that is an ulp away may have been rounded the other way, or not at all. */
const C1_AND_PE = 0x220;

/** Which bits of which bytes of one case count. */
export function comparisonMask(name: string, test: VectorCase, before: Uint8Array, mode: VectorMode): Uint8Array {
  const mask = new Uint8Array(Image.size).fill(0xff);
  const view = new DataView(mask.buffer);
  const shift = shiftFacts(name, test, before);
  view.setUint32(Image.rflags, KEPT_FLAGS & ~undefinedFlags(mnemonicOf(name), shift), true);
  view.setUint32(Image.rflags + 4, 0, true);
  const conditions = undefinedConditions(mnemonicOf(name)) | (toleranceOf(mnemonicOf(name))?.kind === 'f80' ? C1_AND_PE : 0);
  view.setUint16(Image.fsw, 0xffff & ~conditions, true);
  // Outside of 64-bit mode the upper halves come and go with mode switches (SDM Vol. 1, "General-Purpose Registers in 64-Bit Mode").
  if (mode !== 64) for (let i = 0; i < 8; i++) view.setUint32(Image.gpr + 8 * i + 4, 0, true);
  for (const { offset, bytes } of test.ignore) mask.fill(0, offset, offset + bytes.length);
  if (undefinedDestination(shift)) {
    const register = rmRegister(test, mode === 64);
    if (register) mask.fill(0, register.offset, register.offset + register.length);
    else mask.fill(0, Image.memory);
  }
  return mask;
}

function closeEnough(tolerance: Tolerance, at: number, expected: Uint8Array, actual: Uint8Array): boolean {
  const one = new DataView(expected.buffer, expected.byteOffset);
  const other = new DataView(actual.buffer, actual.byteOffset);
  if (tolerance.kind === 'f80') {
    if (at < Image.fpr || at >= Image.vec) return false;
    const start = at - ((at - Image.fpr) & 15);
    const read = (view: DataView): bigint => (BigInt(view.getUint16(start + 8, true)) << 64n) | view.getBigUint64(start, true);
    const distance = read(one) - read(other);
    return distance <= BigInt(tolerance.ulps) && -distance <= BigInt(tolerance.ulps);
  }
  if (at < Image.vec || at >= Image.memory) return false;
  const start = at & ~3;
  const want = one.getFloat32(start, true);
  const got = other.getFloat32(start, true);
  return Math.abs(want - got) <= tolerance.relative * Math.abs(want);
}

/** Offsets of bytes in which an answer differs from the captured one, undefined parts aside; empty when it is right. */
export function findMismatches(
  name: string,
  test: VectorCase,
  images: { before: Uint8Array; expected: Uint8Array; actual: Uint8Array },
  mode: VectorMode,
): number[] {
  const { before, expected, actual } = images;
  const mask = comparisonMask(name, test, before, mode);
  const tolerance = toleranceOf(mnemonicOf(name));
  const wrong: number[] = [];
  for (let at = 0; at < Image.size; at++) {
    if (((expected[at] ^ actual[at]) & mask[at]) === 0) continue;
    if (tolerance && closeEnough(tolerance, at, expected, actual)) continue;
    wrong.push(at);
  }
  return wrong;
}

const GPR_NAMES = ['RAX', 'RCX', 'RDX', 'RBX', 'RSP', 'RBP', 'RSI', 'RDI', 'R8', 'R9', 'R10', 'R11', 'R12', 'R13', 'R14', 'R15'];
const FIELDS: readonly (readonly [string, number, number])[] = [
  ...GPR_NAMES.map((name, i) => [name, Image.gpr + 8 * i, 8] as const),
  ['RIP', Image.rip, 8],
  ['RFLAGS', Image.rflags, 8],
  ['GS.base', Image.gsBase, 8],
  ['FS.base', Image.fsBase, 8],
  ['MXCSR', Image.mxcsr, 4],
  ['FCW', Image.fcw, 2],
  ['FSW', Image.fsw, 2],
  ['FTAG', Image.ftag, 1],
  ...Array.from({ length: 8 }, (_, i) => [`R${i}(x87)`, Image.fpr + 16 * i, 10] as const),
  ...Array.from({ length: 16 }, (_, i) => [`YMM${i}`, Image.vec + 32 * i, 32] as const),
];

function hex(image: Uint8Array, offset: number, length: number): string {
  return Array.from(image.subarray(offset, offset + length))
    .reverse()
    .map((byte) => byte.toString(16).padStart(2, '0'))
    .join('');
}

/** Names the registers and memory in which two images differ at the given bytes, with both values. */
export function describeMismatches(offsets: readonly number[], expected: Uint8Array, actual: Uint8Array): string[] {
  const fields = new Map<number, string>();
  for (const at of offsets) {
    const field = FIELDS.find(([, offset, length]) => at >= offset && at < offset + length);
    const offset = field ? field[1] : at & ~7;
    const name = field ? field[0] : `[0x${(offset - Image.memory + 0x8000).toString(16)}]`;
    const length = field ? field[2] : 8;
    if (!fields.has(offset)) fields.set(offset, `${name} is ${hex(actual, offset, length)}, should be ${hex(expected, offset, length)}`);
  }
  return [...fields.values()];
}
