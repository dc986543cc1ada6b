/** Builds small kernels of every format, for tests. */

const put = (bytes: Uint8Array, at: number, width: 1 | 2 | 4 | 8, value: number): void => {
  for (let i = 0; i < width; i++) bytes[at + i] = Math.floor(value / 2 ** (8 * i)) % 256;
};

export interface BzImageOptions {
  readonly version?: number;
  readonly has64?: boolean;
  readonly initBytes?: number;
  readonly preferred?: number;
  readonly loadedHigh?: boolean;
  readonly commandLineMaximum?: number;
  readonly initrdMaximum?: number;
}

/** A bzImage with one setup sector beside the boot sector and 4 KiB of protected-mode code, all 0x90. */
export function bzImage(options: BzImageOptions = {}): Uint8Array {
  const {
    version = 0x20f,
    has64 = true,
    initBytes = 0x200000,
    preferred = 0x1000000,
    loadedHigh = true,
    commandLineMaximum = 2047,
    initrdMaximum = 0x7fffffff,
  } = options;
  const setup = 2 * 512 + 512;
  const image = new Uint8Array(setup + 4096).fill(0x90);
  image.fill(0, 0, setup);
  put(image, 0x1f1, 1, 2);
  put(image, 0x1f4, 4, 4096 / 16);
  put(image, 0x1fe, 2, 0xaa55);
  put(image, 0x200, 2, 0x6aeb);
  put(image, 0x202, 4, 0x53726448);
  put(image, 0x206, 2, version);
  put(image, 0x211, 1, loadedHigh ? 1 : 0);
  put(image, 0x22c, 4, initrdMaximum);
  put(image, 0x230, 4, 0x200000);
  put(image, 0x234, 1, 1);
  put(image, 0x236, 2, has64 ? 3 : 0);
  put(image, 0x238, 4, commandLineMaximum);
  put(image, 0x258, 8, preferred);
  put(image, 0x260, 4, initBytes);
  return image;
}

export interface ElfOptions {
  readonly bits?: 32 | 64;
  readonly entry?: number;
  readonly physical?: number;
  readonly memoryBytes?: number;
  /** A PVH note with this entry. */
  readonly pvh?: number;
  /** Bytes at the start of the segment's contents. */
  readonly contents?: Uint8Array;
  readonly machine?: number;
}

/** An ELF executable with one segment and possibly a note. */
export function elf(options: ElfOptions = {}): Uint8Array {
  const { bits = 64, entry = 0x100000, physical = 0x100000, contents = new Uint8Array(64).fill(0xf4) } = options;
  const wide = bits === 64;
  const headerBytes = wide ? 64 : 52;
  const programBytes = wide ? 56 : 32;
  const count = options.pvh === undefined ? 1 : 2;
  const noteAt = headerBytes + count * programBytes;
  const note = options.pvh === undefined ? 0 : 12 + 4 + 8;
  const dataAt = noteAt + note;
  const file = new Uint8Array(dataAt + contents.length);
  file.set([0x7f, 0x45, 0x4c, 0x46, wide ? 2 : 1, 1, 1]);
  put(file, 16, 2, 2);
  put(file, 18, 2, options.machine ?? (wide ? 62 : 3));
  put(file, 20, 4, 1);
  const word = wide ? 8 : 4;
  put(file, 24, word, entry);
  put(file, 24 + word, word, headerBytes);
  put(file, wide ? 54 : 42, 2, programBytes);
  put(file, wide ? 56 : 44, 2, count);
  const program = (index: number, type: number, offset: number, size: number, memory: number): void => {
    const at = headerBytes + index * programBytes;
    put(file, at, 4, type);
    const fields = wide ? [8, 16, 24, 32, 40, 48] : [4, 8, 12, 16, 20, 28];
    [offset, physical, physical, size, memory, 4].forEach((value, i) => put(file, at + fields[i]!, word as 4 | 8, value));
  };
  program(0, 1, dataAt, contents.length, options.memoryBytes ?? contents.length);
  if (options.pvh !== undefined) {
    program(1, 4, noteAt, note, note);
    put(file, noteAt, 4, 4);
    put(file, noteAt + 4, 4, 8);
    put(file, noteAt + 8, 4, 18);
    file.set([0x58, 0x65, 0x6e, 0], noteAt + 12);
    put(file, noteAt + 16, 8, options.pvh);
  }
  file.set(contents, dataAt);
  return file;
}

/** A multiboot 1 header, as the contents of an ELF segment or (with addresses) of a raw file. */
export function multibootHeader(
  flags: number,
  addresses?: { header: number; load: number; loadEnd: number; bssEnd: number; entry: number },
): Uint8Array {
  const bytes = new Uint8Array(128);
  put(bytes, 0, 4, 0x1badb002);
  put(bytes, 4, 4, flags);
  put(bytes, 8, 4, (-(0x1badb002 + flags) >>> 0) % 2 ** 32);
  if (addresses) Object.values(addresses).forEach((value, i) => put(bytes, 12 + i * 4, 4, value));
  return bytes;
}

/** A multiboot 2 header with the given tags: type, flags, words. */
export function multiboot2Header(tags: readonly (readonly [type: number, flags: number, words: readonly number[]])[]): Uint8Array {
  const parts: number[] = [];
  for (const [type, flags, words] of [...tags, [0, 0, []] as const]) {
    const at = parts.length;
    parts.push(type & 0xff, type >> 8, flags & 0xff, flags >> 8, 8 + words.length * 4, 0, 0, 0);
    for (const value of words) parts.push(value & 0xff, (value >>> 8) & 0xff, (value >>> 16) & 0xff, value >>> 24);
    while ((parts.length - at) % 8 !== 0) parts.push(0);
  }
  const bytes = new Uint8Array(16 + parts.length + 64);
  put(bytes, 0, 4, 0xe85250d6);
  put(bytes, 8, 4, 16 + parts.length);
  put(bytes, 12, 4, (-(0xe85250d6 + 16 + parts.length) >>> 0) % 2 ** 32);
  bytes.set(parts, 16);
  return bytes;
}
