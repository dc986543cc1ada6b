import { hex, mebibytes, readU64, viewOf } from './bytes.js';
import { type E820Entry, isRam } from './e820.js';
import { BootError } from './errors.js';
import type { BootFile, BootWrite } from './plan.js';

/** One loadable piece of an ELF file. */
export interface ElfSegment {
  readonly type: number;
  readonly offset: number;
  readonly physical: number;
  readonly virtual: number;
  readonly fileBytes: number;
  readonly memoryBytes: number;
  readonly alignment: number;
}

/** The parts of an ELF executable that a loader needs. */
export interface ElfImage {
  readonly class: 32 | 64;
  readonly entry: number;
  readonly segments: readonly ElfSegment[];
}

const PT_LOAD = 1;
const PT_NOTE = 4;
const EM_386 = 3;
const EM_X86_64 = 62;

export const isElf = (bytes: Uint8Array): boolean => bytes[0] === 0x7f && bytes[1] === 0x45 && bytes[2] === 0x4c && bytes[3] === 0x46;

/** Reads the ELF and program headers; throws `BootError` (`truncated`, `unsupported`, `bad-header`). */
export function readElf(file: BootFile): ElfImage {
  const { bytes, name } = file;
  const view = viewOf(bytes);
  const is64 = bytes[4] === 2;
  if (bytes.length < (is64 ? 64 : 52))
    throw new BootError('truncated', `${name}: the ELF header is cut off after ${bytes.length} bytes; copy the file again`);
  const machine = view.getUint16(18, true);
  if (bytes[5] !== 1 || (machine !== EM_386 && machine !== EM_X86_64))
    throw new BootError('unsupported', `${name}: an ELF file for machine ${machine}, not x86; use an x86 kernel`);
  const table = is64 ? readU64(view, 32) : view.getUint32(28, true);
  const entryBytes = view.getUint16(is64 ? 54 : 42, true);
  const count = view.getUint16(is64 ? 56 : 44, true);
  if (count > 0 && entryBytes < (is64 ? 56 : 32))
    throw new BootError('bad-header', `${name}: program headers of ${entryBytes} bytes; the file is damaged`);
  if (table + count * entryBytes > bytes.length)
    throw new BootError(
      'truncated',
      `${name}: program headers end at ${hex(table + count * entryBytes)}, the file at ${hex(bytes.length)}; copy the file again`,
    );
  const segments = Array.from({ length: count }, (_, i) => readSegment(view, table + i * entryBytes, is64));
  for (const segment of segments) {
    if (segment.type === PT_LOAD && segment.offset + segment.fileBytes > bytes.length) {
      throw new BootError(
        'truncated',
        `${name}: a segment ends at ${hex(segment.offset + segment.fileBytes)}, the file at ${hex(bytes.length)}; copy the file again`,
      );
    }
  }
  return { class: is64 ? 64 : 32, entry: is64 ? readU64(view, 24) : view.getUint32(24, true), segments };
}

function readSegment(view: DataView, at: number, is64: boolean): ElfSegment {
  const word = (offset: number): number => view.getUint32(at + offset, true);
  const long = (offset: number): number => readU64(view, at + offset);
  return is64
    ? { type: word(0), offset: long(8), virtual: long(16), physical: long(24), fileBytes: long(32), memoryBytes: long(40), alignment: long(48) }
    : { type: word(0), offset: word(4), virtual: word(8), physical: word(12), fileBytes: word(16), memoryBytes: word(20), alignment: word(28) };
}

/** The writes that load an image; throws `BootError` (`too-little-memory`, `bad-header`). */
export function elfWrites(file: BootFile, image: ElfImage, e820: readonly E820Entry[]): BootWrite[] {
  const loads = image.segments.filter((segment) => segment.type === PT_LOAD && segment.memoryBytes > 0);
  if (loads.length === 0) throw new BootError('bad-header', `${file.name}: an ELF file with nothing to load; use an executable, not an object file`);
  return loads.map((segment, i) => {
    if (segment.fileBytes > segment.memoryBytes)
      throw new BootError('bad-header', `${file.name}: segment ${i} is larger in the file than in memory; the file is damaged`);
    assertFits(file.name, segment.physical, segment.memoryBytes, e820);
    return {
      name: `${file.name} segment ${i}`,
      address: segment.physical,
      bytes: file.bytes.subarray(segment.offset, segment.offset + segment.fileBytes),
      size: segment.memoryBytes,
    };
  });
}

/** Throws `BootError` (`too-little-memory`) unless the range is RAM. */
export function assertFits(name: string, base: number, size: number, e820: readonly E820Entry[]): void {
  if (isRam(e820, base, size)) return;
  throw new BootError(
    'too-little-memory',
    `${name}: needs ${mebibytes(size)} of RAM at ${hex(base)}, which this machine does not have; give it more memory (-m)`,
  );
}

/** End of the highest loaded byte. */
export const elfEnd = (image: ElfImage): number =>
  image.segments.reduce((end, s) => (s.type === PT_LOAD ? Math.max(end, s.physical + s.memoryBytes) : end), 0);

/** Descriptor bytes of the first note with this owner and type, or undefined. */
export function findNote(file: BootFile, image: ElfImage, owner: string, type: number): Uint8Array | undefined {
  for (const segment of image.segments) {
    if (segment.type !== PT_NOTE) continue;
    const end = Math.min(file.bytes.length, segment.offset + segment.fileBytes);
    const found = scanNotes(file.bytes.subarray(segment.offset, end), segment.alignment === 8 ? 8 : 4, owner, type);
    if (found) return found;
  }
  return undefined;
}

function scanNotes(notes: Uint8Array, alignment: number, owner: string, type: number): Uint8Array | undefined {
  const view = viewOf(notes);
  const up = (n: number): number => Math.ceil(n / alignment) * alignment;
  for (let at = 0; at + 12 <= notes.length; ) {
    const nameBytes = view.getUint32(at, true);
    const dataBytes = view.getUint32(at + 4, true);
    const data = at + up(12 + nameBytes);
    if (data + dataBytes > notes.length) return undefined;
    const name = String.fromCharCode(...notes.subarray(at + 12, at + 12 + Math.min(nameBytes, 16))).replace(/\0.*$/s, '');
    if (name === owner && view.getUint32(at + 8, true) === type) return notes.subarray(data, data + dataBytes);
    at = data + up(dataBytes);
  }
  return undefined;
}
