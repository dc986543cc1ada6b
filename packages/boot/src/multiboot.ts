import { alignUp, ByteWriter, latin1, viewOf, zeroTerminated } from './bytes.js';
import { biosDataArea, gdtWrite, protectedEntry } from './cpu-entry.js';
import { E820Type, topOfLowRam } from './e820.js';
import { assertFits, elfEnd, elfWrites, isElf, readElf } from './elf.js';
import { BootError } from './errors.js';
import { type BootFile, type BootMemory, type BootModule, type BootPlan, type BootWrite, LowMemory } from './plan.js';

/** What the multiboot loaders are given; see the Multiboot Specification, versions 0.6.96 and 2.0. */
export interface MultibootOptions extends BootMemory {
  readonly kernel: BootFile;
  readonly modules?: readonly BootModule[];
  readonly commandLine?: string;
  /** ACPI's RSDP as bytes, for multiboot 2's tag. */
  readonly rsdpBytes?: Uint8Array;
}

const MAGIC = 0x1badb002;
const SEARCH_BYTES = 8192;
const BOOT_MAGIC = 0x2badb002;
const LOADER = 'nestvm';
const Flag = { ALIGN: 1, MEMORY: 2, VIDEO: 4, ADDRESSES: 0x10000 } as const;
/** Bits 0-15 are requirements: a loader that does not know one must refuse. */
const KNOWN_REQUIREMENTS = Flag.ALIGN | Flag.MEMORY | Flag.VIDEO;

/** Offset of a valid multiboot 1 header, or -1. */
export function findMultiboot(bytes: Uint8Array): number {
  const view = viewOf(bytes);
  for (let at = 0; at + 12 <= Math.min(bytes.length, SEARCH_BYTES); at += 4) {
    if (view.getUint32(at, true) === MAGIC && (MAGIC + view.getUint32(at + 4, true) + view.getUint32(at + 8, true)) >>> 0 === 0) return at;
  }
  return -1;
}

/** What a loader of either version has after the kernel's own bytes are placed. */
export interface LoadedKernel {
  readonly writes: BootWrite[];
  readonly entry: number;
  readonly end: number;
}

/** Addresses in a header that replace those of ELF (the "a.out kludge" and multiboot 2's address tag). */
export interface LoadAddresses {
  readonly header: number;
  readonly load: number;
  /** End of data, 0: the whole file. */
  readonly loadEnd: number;
  /** End of BSS, 0: none. */
  readonly bssEnd: number;
  readonly entry: number;
}

/** Places a kernel by explicit addresses, given where its header lies in the file. */
function loadByAddresses(options: MultibootOptions, at: number, addresses: LoadAddresses): LoadedKernel {
  const { kernel, e820 } = options;
  const start = at - (addresses.header - addresses.load);
  if (addresses.load > addresses.header || start < 0)
    throw new BootError('bad-header', `${kernel.name}: the multiboot header names a load address after itself; fix its address fields`);
  const length = addresses.loadEnd === 0 ? kernel.bytes.length - start : addresses.loadEnd - addresses.load;
  if (length < 0 || start + length > kernel.bytes.length)
    throw new BootError(
      'truncated',
      `${kernel.name}: the multiboot header promises ${length} bytes, the file has ${kernel.bytes.length - start}; copy the file again`,
    );
  const size = Math.max(length, addresses.bssEnd === 0 ? 0 : addresses.bssEnd - addresses.load);
  assertFits(kernel.name, addresses.load, size, options.e820.length > 0 ? e820 : []);
  return {
    writes: [{ name: kernel.name, address: addresses.load, bytes: kernel.bytes.subarray(start, start + length), size }],
    entry: addresses.entry,
    end: addresses.load + size,
  };
}

/** Places an ELF kernel. */
function loadElfKernel(options: MultibootOptions): LoadedKernel {
  const { kernel } = options;
  if (!isElf(kernel.bytes))
    throw new BootError(
      'bad-header',
      `${kernel.name}: a multiboot header without addresses in a file that is not ELF; set bit 16 of its flags and the address fields`,
    );
  const image = readElf(kernel);
  return { writes: elfWrites(kernel, image, options.e820), entry: image.entry, end: elfEnd(image) };
}

/** Places modules above the kernel, page-aligned, in order. */
function modulesAbove(options: MultibootOptions, end: number): BootWrite[] {
  let address = end;
  return (options.modules ?? []).map((module) => {
    address = alignUp(address, 4096);
    assertModuleFits(module, address, topOfLowRam(options.e820));
    const write = { name: module.name, address, bytes: module.bytes };
    address += module.bytes.length;
    return write;
  });
}

function assertModuleFits(module: BootFile, address: number, top: number): void {
  if (address + module.bytes.length <= top) return;
  throw new BootError(
    'initrd-too-large',
    `${module.name}: ${module.bytes.length} bytes at 0x${address.toString(16)} go beyond the end of RAM at 0x${top.toString(16)}; give the guest more memory (-m) or use a smaller module`,
  );
}

/** Appends structures to a region of low memory and knows their addresses. */
class Region {
  readonly parts: BootWrite[] = [];
  constructor(private at: number) {}

  add(name: string, bytes: Uint8Array): number {
    const address = this.at;
    this.parts.push({ name, address, bytes });
    this.at = alignUp(address + bytes.length, 8);
    if (this.at > LowMemory.END)
      throw new BootError(
        'command-line-too-long',
        `${name}: no room below ${LowMemory.END} bytes for the multiboot strings; use shorter command lines`,
      );
    return address;
  }
}

const lowKib = (): number => LowMemory.END / 1024;
const highKib = (options: MultibootOptions): number => (topOfLowRam(options.e820) - 0x100000) / 1024;

function memoryMap(options: MultibootOptions): Uint8Array {
  const map = new ByteWriter(options.e820.length * 24);
  options.e820.forEach((range, i) => {
    map.u32(i * 24, 20);
    map.u64(i * 24 + 4, range.base);
    map.u64(i * 24 + 12, range.size);
    map.u32(i * 24 + 20, range.type);
  });
  return map.bytes;
}

/** Loads a multiboot 1 kernel; throws `BootError` (`unsupported`, `bad-header`, `truncated`, `too-little-memory`, `initrd-too-large`, `command-line-too-long`). */
export function loadMultiboot(options: MultibootOptions): BootPlan {
  const { kernel } = options;
  const at = findMultiboot(kernel.bytes);
  if (at < 0) throw new BootError('not-a-kernel', `${kernel.name}: no multiboot header in its first ${SEARCH_BYTES} bytes; use another kernel`);
  const view = viewOf(kernel.bytes);
  const flags = view.getUint32(at + 4, true);
  const unknown = flags & 0xffff & ~KNOWN_REQUIREMENTS;
  if (unknown !== 0)
    throw new BootError(
      'unsupported',
      `${kernel.name}: requires multiboot features 0x${unknown.toString(16)}, which Nestvm does not have; clear those flag bits`,
    );
  if (flags & Flag.ADDRESSES && at + 32 > kernel.bytes.length)
    throw new BootError('truncated', `${kernel.name}: the multiboot header is cut off; copy the file again`);
  const word = (offset: number): number => view.getUint32(at + offset, true);
  const loaded =
    flags & Flag.ADDRESSES
      ? loadByAddresses(options, at, { header: word(12), load: word(16), loadEnd: word(20), bssEnd: word(24), entry: word(28) })
      : loadElfKernel(options);
  const modules = modulesAbove(options, loaded.end);
  const region = new Region(LowMemory.MULTIBOOT);
  const list = new ByteWriter(Math.max(1, modules.length) * 16);
  modules.forEach((module, i) => {
    list.u32(i * 16, module.address);
    list.u32(i * 16 + 4, module.address + module.bytes.length);
    list.u32(i * 16 + 8, region.add('module string', zeroTerminated(options.modules![i]!.commandLine ?? options.modules![i]!.name)));
  });
  const map = memoryMap(options);
  const info = new ByteWriter(120);
  info.u32(0, 0x1 | 0x2 | 0x4 | 0x8 | 0x40 | 0x200);
  info.u32(4, lowKib());
  info.u32(8, highKib(options));
  info.u32(12, 0x8000ffff);
  info.u32(16, region.add('command line', zeroTerminated(`${kernel.name}${options.commandLine ? ` ${options.commandLine}` : ''}`)));
  info.u32(20, modules.length);
  info.u32(24, modules.length > 0 ? region.add('module list', list.bytes) : 0);
  info.u32(44, map.length);
  info.u32(48, region.add('memory map', map));
  info.u32(64, region.add('loader name', zeroTerminated(LOADER)));
  const address = region.add('multiboot information', info.bytes);
  const writes = [biosDataArea(), gdtWrite('protected'), ...loaded.writes, ...modules, ...region.parts];
  return { format: 'multiboot', writes, entry: protectedEntry(loaded.entry, { rax: BOOT_MAGIC, rbx: address }) };
}

const MAGIC2 = 0xe85250d6;
const SEARCH_BYTES2 = 32768;
const BOOT_MAGIC2 = 0x36d76289;
const Tag = { END: 0, REQUEST: 1, ADDRESS: 2, ENTRY: 3, CONSOLE: 4, FRAMEBUFFER: 5, ALIGN: 6, EFI: 7, EFI32: 8, EFI64: 9, RELOCATABLE: 10 } as const;
/** Information tags that we supply: command line, loader, modules, memory, map, RSDPs, load base. */
const SUPPLIED = new Set([1, 2, 3, 4, 6, 14, 15, 21]);

/** Offset of a valid multiboot 2 header for i386, or -1. */
export function findMultiboot2(bytes: Uint8Array): number {
  const view = viewOf(bytes);
  for (let at = 0; at + 16 <= Math.min(bytes.length, SEARCH_BYTES2); at += 8) {
    const word = (offset: number): number => view.getUint32(at + offset, true);
    if (word(0) === MAGIC2 && word(4) === 0 && (word(0) + word(4) + word(8) + word(12)) >>> 0 === 0) return at;
  }
  return -1;
}

interface HeaderTags {
  addresses?: { header: number; load: number; loadEnd: number; bssEnd: number };
  entry?: number;
}

function readTags(kernel: BootFile, at: number): HeaderTags {
  const view = viewOf(kernel.bytes);
  const end = at + view.getUint32(at + 8, true);
  if (end > kernel.bytes.length) throw new BootError('truncated', `${kernel.name}: the multiboot 2 header is cut off; copy the file again`);
  const tags: HeaderTags = {};
  for (let tag = at + 16; tag + 8 <= end; ) {
    const type = view.getUint16(tag, true);
    const optional = (view.getUint16(tag + 2, true) & 1) !== 0;
    const size = view.getUint32(tag + 4, true);
    if (type === Tag.END) break;
    if (size < 8 || tag + size > end) throw new BootError('bad-header', `${kernel.name}: multiboot 2 tag ${type} has size ${size}; fix the header`);
    const word = (i: number): number => view.getUint32(tag + 8 + i * 4, true);
    if (type === Tag.ADDRESS && size >= 24) tags.addresses = { header: word(0), load: word(1), loadEnd: word(2), bssEnd: word(3) };
    else if (type === Tag.ENTRY && size >= 12) tags.entry = word(0);
    else if (type === Tag.REQUEST)
      checkRequests(
        kernel,
        Array.from({ length: (size - 8) >> 2 }, (_, i) => word(i)),
        optional,
      );
    else if (type > Tag.RELOCATABLE && !optional)
      throw new BootError('unsupported', `${kernel.name}: requires multiboot 2 tag ${type}, which Nestvm does not have; mark it optional`);
    tag += alignUp(size, 8);
  }
  return tags;
}

function checkRequests(kernel: BootFile, requests: readonly number[], optional: boolean): void {
  const missing = requests.filter((type) => !SUPPLIED.has(type));
  if (optional || missing.length === 0) return;
  throw new BootError(
    'unsupported',
    `${kernel.name}: requires multiboot 2 information ${missing.join(', ')}, which Nestvm does not have; mark the request optional`,
  );
}

const tag = (type: number, payload: Uint8Array): Uint8Array => {
  const out = new ByteWriter(alignUp(8 + payload.length, 8));
  out.u32(0, type);
  out.u32(4, 8 + payload.length);
  out.bytes.set(payload, 8);
  return out.bytes;
};
const words = (...values: number[]): Uint8Array => {
  const out = new ByteWriter(values.length * 4);
  values.forEach((value, i) => out.u32(i * 4, value));
  return out.bytes;
};
const join = (...parts: Uint8Array[]): Uint8Array => {
  const out = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    out.set(part, at);
    at += part.length;
  }
  return out;
};

function map2(options: MultibootOptions): Uint8Array {
  const map = new ByteWriter(8 + options.e820.length * 24);
  map.u32(0, 24);
  options.e820.forEach((range, i) => {
    map.u64(8 + i * 24, range.base);
    map.u64(16 + i * 24, range.size);
    map.u32(24 + i * 24, range.type === E820Type.NVS ? 4 : range.type);
  });
  return map.bytes;
}

/** Loads a multiboot 2 kernel; throws as {@link loadMultiboot}. */
export function loadMultiboot2(options: MultibootOptions): BootPlan {
  const { kernel } = options;
  const at = findMultiboot2(kernel.bytes);
  if (at < 0) throw new BootError('not-a-kernel', `${kernel.name}: no multiboot 2 header in its first ${SEARCH_BYTES2} bytes; use another kernel`);
  const tags = readTags(kernel, at);
  const placed = tags.addresses ? loadByAddresses(options, at, { ...tags.addresses, entry: tags.entry ?? 0 }) : loadElfKernel(options);
  if (tags.addresses && tags.entry === undefined)
    throw new BootError('entry-missing', `${kernel.name}: a multiboot 2 address tag without an entry tag; add one`);
  const modules = modulesAbove(options, placed.end);
  const rsdp = options.rsdpBytes;
  const body = join(
    tag(1, zeroTerminated(options.commandLine ?? '')),
    tag(2, zeroTerminated(LOADER)),
    ...modules.map((m, i) =>
      tag(3, join(words(m.address, m.address + m.bytes.length), zeroTerminated(options.modules![i]!.commandLine ?? options.modules![i]!.name))),
    ),
    tag(4, words(lowKib(), highKib(options))),
    tag(6, map2(options)),
    ...(rsdp ? [tag(14, rsdp.subarray(0, 20)), tag(15, rsdp)] : []),
    tag(21, words(Math.min(...placed.writes.map((write) => write.address)))),
    tag(Tag.END, latin1('')),
  );
  const region = new Region(LowMemory.MULTIBOOT);
  const address = region.add('multiboot 2 information', join(words(8 + body.length, 0), body));
  const writes = [biosDataArea(), gdtWrite('protected'), ...placed.writes, ...modules, ...region.parts];
  return { format: 'multiboot2', writes, entry: protectedEntry(tags.entry ?? placed.entry, { rax: BOOT_MAGIC2, rbx: address }) };
}
