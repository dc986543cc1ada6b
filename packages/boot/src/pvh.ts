import { alignDown, alignUp, ByteWriter, hex, mebibytes, viewOf, zeroTerminated } from './bytes.js';
import { biosDataArea, gdtWrite, protectedEntry } from './cpu-entry.js';
import { topOfLowRam } from './e820.js';
import { elfEnd, elfWrites, findNote, readElf } from './elf.js';
import { BootError } from './errors.js';
import { type BootFile, type BootMemory, type BootModule, type BootPlan, type BootWrite, LowMemory } from './plan.js';

/** What the PVH loader is given; see Xen, "x86/HVM direct boot ABI". The first module is Linux's initrd. */
export interface PvhOptions extends BootMemory {
  readonly kernel: BootFile;
  readonly modules?: readonly BootModule[];
  readonly commandLine?: string;
}

const START_INFO_MAGIC = 0x336ec578;
const PHYS32_ENTRY = 18;
const START_INFO_BYTES = 56;
const MODULE_BYTES = 32;
const MAP_ENTRY_BYTES = 24;

/** The 32-bit entry point of an ELF file's PVH note, or undefined. */
export function pvhEntry(file: BootFile): number | undefined {
  const note = findNote(file, readElf(file), 'Xen', PHYS32_ENTRY);
  return note && note.length >= 4 ? viewOf(note).getUint32(0, true) : undefined;
}

/** Puts files at the top of low memory, page-aligned, the first one highest. */
function placeModules(modules: readonly BootFile[], top: number, bottom: number): BootWrite[] {
  let end = top;
  return modules.map((module) => {
    const address = alignDown(end - module.bytes.length, 4096);
    if (address < bottom) {
      throw new BootError(
        'initrd-too-large',
        `${module.name}: ${mebibytes(module.bytes.length)} do not fit between the kernel's end at ${hex(bottom)} and ${hex(end)}; give the guest more memory (-m) or use a smaller initrd`,
      );
    }
    end = address;
    return { name: module.name, address, bytes: module.bytes };
  });
}

/** Loads an ELF kernel by its PVH note; throws `BootError` (`entry-missing`, `truncated`, `too-little-memory`, `initrd-too-large`). */
export function loadPvh(options: PvhOptions): BootPlan {
  const { kernel, e820 } = options;
  const image = readElf(kernel);
  const entry = pvhEntry(kernel);
  if (entry === undefined) {
    throw new BootError(
      'entry-missing',
      `${kernel.name}: an ELF file with neither a PVH note nor a multiboot header; build the kernel with CONFIG_PVH, or use its bzImage`,
    );
  }
  const loads = elfWrites(kernel, image, e820);
  const modules = options.modules ?? [];
  const placed = placeModules(modules, topOfLowRam(e820), alignUp(elfEnd(image), 4096));
  const commandLine = zeroTerminated(options.commandLine ?? '');
  if (commandLine.length > 0x10000) throw new BootError('command-line-too-long', `-append: ${commandLine.length} bytes; shorten it to 65535`);
  const info = new ByteWriter(START_INFO_BYTES + modules.length * MODULE_BYTES);
  info.u32(0, START_INFO_MAGIC);
  info.u32(4, 1);
  info.u32(12, modules.length);
  info.u64(16, modules.length > 0 ? LowMemory.START_INFO + START_INFO_BYTES : 0);
  info.u64(24, LowMemory.COMMAND_LINE);
  info.u64(32, options.rsdp ?? 0);
  info.u64(40, LowMemory.MEMORY_MAP);
  info.u32(48, e820.length);
  const strings: BootWrite[] = [];
  let text = LowMemory.MULTIBOOT as number;
  placed.forEach((module, i) => {
    const at = START_INFO_BYTES + i * MODULE_BYTES;
    info.u64(at, module.address);
    info.u64(at + 8, module.bytes.length);
    const line = modules[i]?.commandLine;
    if (line === undefined) return;
    const bytes = zeroTerminated(line);
    strings.push({ name: 'module command line', address: text, bytes });
    info.u64(at + 16, text);
    text += bytes.length;
  });
  const map = new ByteWriter(e820.length * MAP_ENTRY_BYTES);
  e820.forEach((range, i) => {
    map.u64(i * MAP_ENTRY_BYTES, range.base);
    map.u64(i * MAP_ENTRY_BYTES + 8, range.size);
    map.u32(i * MAP_ENTRY_BYTES + 16, range.type);
  });
  const writes: BootWrite[] = [
    biosDataArea(),
    gdtWrite('protected'),
    ...loads,
    ...placed,
    ...strings,
    { name: 'memory map', address: LowMemory.MEMORY_MAP, bytes: map.bytes },
    { name: 'command line', address: LowMemory.COMMAND_LINE, bytes: commandLine },
    { name: 'PVH start info', address: LowMemory.START_INFO, bytes: info.bytes },
  ];
  return { format: 'pvh', writes, entry: protectedEntry(entry, { rbx: LowMemory.START_INFO }) };
}
