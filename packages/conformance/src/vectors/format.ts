import { ByteReader, ByteWriter } from './bytes.js';
import { VectorError } from './errors.js';
import { Image, type VectorMode } from './image.js';

/** The vector number of a case in which the instruction completed. */
export const NO_EXCEPTION = -1;

/** A run of bytes of an image. */
export interface Patch {
  readonly offset: number;
  readonly bytes: Uint8Array;
}

/** One instruction, executed once on a real CPU. */
export interface VectorCase {
  /** Its bytes, at `Place.start`. */
  readonly code: Uint8Array;
  /** What the image before execution has different from the file's background. */
  readonly before: readonly Patch[];
  /** The exception's vector, or {@link NO_EXCEPTION}. */
  readonly exception: number;
  /** The exception's error code; zero when it has none. */
  readonly errorCode: number;
  /** CR2 after a page fault, else zero. */
  readonly cr2: bigint;
  /** What the image after execution has different from the one before, in which RIP has already moved past the instruction when there was no exception. */
  readonly after: readonly Patch[];
  /** Parts of the image that this CPU leaves undefined or does its own way: not compared. */
  readonly ignore: readonly Patch[];
}

/** All cases of one instruction form, named by syntax and opcode as the manual prints them (`ADD r/m32, imm8 | o32 83 /0 ib`). */
export interface VectorForm {
  readonly name: string;
  readonly cases: readonly VectorCase[];
}

/** What a file says about itself. */
export interface VectorHeader {
  readonly version: 1;
  readonly mode: VectorMode;
  /** The CPU on which the cases were captured. */
  readonly cpu: { readonly vendor: string; readonly family: number; readonly model: number; readonly stepping: number; readonly name: string };
  /** Names of the forms and how many cases each has, in file order. */
  readonly forms: readonly { readonly name: string; readonly cases: number }[];
}

/** One file of vectors. */
export interface VectorFile extends VectorHeader {
  /** The image from which every case starts. */
  readonly background: Uint8Array;
}

const MAGIC = 'NESTVEC1';

function writePatches(out: ByteWriter, patches: readonly Patch[], content: boolean): void {
  out.varint(patches.length);
  let at = 0;
  for (const { offset, bytes } of patches) {
    out.varint(offset - at);
    out.varint(bytes.length);
    if (content) out.bytes(bytes);
    at = offset + bytes.length;
  }
}

function readPatches(input: ByteReader, content: boolean): Patch[] {
  const patches: Patch[] = [];
  let at = 0;
  for (let count = input.varint(); count > 0; count--) {
    const offset = at + input.varint();
    const length = input.varint();
    if (offset + length > Image.size)
      throw new VectorError('truncated', `A case changes byte ${offset} of an image of ${Image.size}; capture the file again.`);
    patches.push({ offset, bytes: content ? input.bytes(length) : new Uint8Array(length) });
    at = offset + length;
  }
  return patches;
}

function writeCase(out: ByteWriter, test: VectorCase): void {
  out.u8(test.code.length);
  out.bytes(test.code);
  writePatches(out, test.before, true);
  out.u8(test.exception & 0xff);
  if (test.exception >= 0) out.varint(test.errorCode);
  if (test.exception === 14) {
    out.varint(Number(test.cr2 & 0xffff_ffffn));
    out.varint(Number(test.cr2 >> 32n));
  }
  writePatches(out, test.after, true);
  writePatches(out, test.ignore, false);
}

function readCase(input: ByteReader): VectorCase {
  const code = input.bytes(input.u8());
  const before = readPatches(input, true);
  const vector = input.u8();
  const exception = vector === 0xff ? NO_EXCEPTION : vector;
  const errorCode = exception >= 0 ? input.varint() : 0;
  const cr2 = exception === 14 ? BigInt(input.varint()) | (BigInt(input.varint()) << 32n) : 0n;
  return { code, before, exception, errorCode, cr2, after: readPatches(input, true), ignore: readPatches(input, false) };
}

/** Writes one file, uncompressed. */
export function encodeVectors(header: Omit<VectorHeader, 'version' | 'forms'>, background: Uint8Array, forms: readonly VectorForm[]): Uint8Array {
  const out = new ByteWriter();
  const full: VectorHeader = { version: 1, ...header, forms: forms.map(({ name, cases }) => ({ name, cases: cases.length })) };
  const text = new TextEncoder().encode(JSON.stringify(full));
  out.bytes(new TextEncoder().encode(MAGIC));
  out.varint(text.length);
  out.bytes(text);
  out.bytes(background);
  for (const { cases } of forms) for (const test of cases) writeCase(out, test);
  return out.finish();
}

/**
 * Reads one file, uncompressed.
 * @returns the header, and a generator of the forms in file order; each form's cases are decoded when it is reached.
 * @throws VectorError `not-vectors`, `version`, `truncated`.
 */
export function decodeVectors(bytes: Uint8Array): { file: VectorFile; forms: Generator<VectorForm> } {
  const input = new ByteReader(bytes);
  if (bytes.length < MAGIC.length || new TextDecoder().decode(input.bytes(MAGIC.length)) !== MAGIC) {
    throw new VectorError('not-vectors', `A vector file starts with ${MAGIC}; this one does not. Is it still compressed?`);
  }
  const header = JSON.parse(new TextDecoder().decode(input.bytes(input.varint()))) as VectorHeader;
  if (header.version !== 1)
    throw new VectorError('version', `The vector file has version ${String(header.version)}, this reader knows 1; update @nestvm/conformance.`);
  const background = input.bytes(Image.size);
  function* forms(): Generator<VectorForm> {
    for (const { name, cases } of header.forms) yield { name, cases: Array.from({ length: cases }, () => readCase(input)) };
  }
  return { file: { ...header, background }, forms: forms() };
}

/** Decompresses (gzip) and reads one file. */
export async function readVectors(compressed: Uint8Array): Promise<{ file: VectorFile; forms: Generator<VectorForm> }> {
  const stream = new Blob([compressed as Uint8Array<ArrayBuffer>]).stream().pipeThrough(new DecompressionStream('gzip'));
  return decodeVectors(new Uint8Array(await new Response(stream).arrayBuffer()));
}

/** Applies patches to an image in place. */
export function applyPatches(image: Uint8Array, patches: readonly Patch[]): void {
  for (const { offset, bytes } of patches) image.set(bytes, offset);
}

/** The runs of bytes in which `changed` differs from `original`; gaps of up to two equal bytes are bridged. */
export function differences(original: Uint8Array, changed: Uint8Array): Patch[] {
  const patches: Patch[] = [];
  for (let at = 0; at < original.length; at++) {
    if (original[at] === changed[at]) continue;
    let end = at + 1;
    for (let next = at + 1; next < original.length && next < end + 3; next++) if (original[next] !== changed[next]) end = next + 1;
    patches.push({ offset: at, bytes: changed.slice(at, end) });
    at = end - 1;
  }
  return patches;
}
