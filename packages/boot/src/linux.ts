import { alignDown, ByteWriter, hex, mebibytes, readU64, viewOf, zeroTerminated } from './bytes.js';
import { biosDataArea, gdtWrite, identityMap, longEntry, protectedEntry } from './cpu-entry.js';
import { isRam, topOfLowRam } from './e820.js';
import { BootError } from './errors.js';
import { type BootFile, type BootMemory, type BootPlan, type BootWrite, LowMemory } from './plan.js';

/** What the Linux loader is given; see Linux, "The Linux/x86 Boot Protocol". */
export interface LinuxOptions extends BootMemory {
  readonly kernel: BootFile;
  readonly initrd?: BootFile;
  readonly commandLine?: string;
  /** Whether the CPU has long mode. */
  readonly longMode: boolean;
  /** `32-bit` takes the 32-bit entry even if there is a 64-bit one. */
  readonly entry?: '32-bit' | 'best';
  /** Extra `setup_data` entries: type and payload. */
  readonly setupData?: readonly { readonly type: number; readonly bytes: Uint8Array }[];
}

/** Offsets in the setup header and in `boot_params`. */
export const Header = {
  ACPI_RSDP: 0x70,
  EXT_RAMDISK_IMAGE: 0xc0,
  EXT_RAMDISK_SIZE: 0xc4,
  EXT_CMD_LINE: 0xc8,
  ALT_MEM_K: 0x1e0,
  E820_ENTRIES: 0x1e8,
  SETUP_SECTS: 0x1f1,
  VID_MODE: 0x1fa,
  BOOT_FLAG: 0x1fe,
  JUMP: 0x201,
  MAGIC: 0x202,
  VERSION: 0x206,
  TYPE_OF_LOADER: 0x210,
  LOADFLAGS: 0x211,
  CODE32_START: 0x214,
  RAMDISK_IMAGE: 0x218,
  RAMDISK_SIZE: 0x21c,
  HEAP_END: 0x224,
  CMD_LINE_PTR: 0x228,
  INITRD_ADDR_MAX: 0x22c,
  KERNEL_ALIGNMENT: 0x230,
  RELOCATABLE: 0x234,
  XLOADFLAGS: 0x236,
  CMDLINE_SIZE: 0x238,
  SETUP_DATA: 0x250,
  PREF_ADDRESS: 0x258,
  INIT_SIZE: 0x260,
  E820_TABLE: 0x2d0,
} as const;
const HDRS = 0x53726448;
const LOADED_HIGH = 1;
const CAN_USE_HEAP = 0x80;
const XLF_KERNEL_64 = 1;
/** Where the protected-mode part of a bzImage goes. */
export const LOAD_ADDRESS = 0x100000;
const MAX_E820 = 128;

/** The fields of a bzImage's setup header that matter to the loader. */
export interface SetupHeader {
  readonly version: number;
  readonly setupBytes: number;
  readonly has64: boolean;
  readonly initrdMaximum: number;
  readonly commandLineMaximum: number;
  readonly preferred: number;
  readonly initBytes: number;
}

/** True for a Linux kernel image with a boot-protocol header. */
export const isLinux = (bytes: Uint8Array): boolean => bytes.length > 0x206 && viewOf(bytes).getUint32(Header.MAGIC, true) === HDRS;

/** Reads the setup header; throws `BootError` (`truncated`, `unsupported`). */
export function readHeader(file: BootFile): SetupHeader {
  const { bytes, name } = file;
  const view = viewOf(bytes);
  if (bytes.length < 0x268) throw new BootError('truncated', `${name}: a Linux kernel of ${bytes.length} bytes is cut off; copy the file again`);
  const version = view.getUint16(Header.VERSION, true);
  const loadflags = view.getUint8(Header.LOADFLAGS);
  if (version < 0x0202 || !(loadflags & LOADED_HIGH)) {
    throw new BootError(
      'unsupported',
      `${name}: boot protocol ${version >> 8}.${version & 0xff} (zImage) starts through a BIOS; use a kernel from Linux 2.4 or later`,
    );
  }
  const setupBytes = ((view.getUint8(Header.SETUP_SECTS) || 4) + 1) * 512;
  const payload = version >= 0x0204 ? view.getUint32(0x1f4, true) * 16 : 0;
  if (bytes.length <= setupBytes || bytes.length + 16 < setupBytes + payload) {
    throw new BootError(
      'truncated',
      `${name}: the header promises ${mebibytes(setupBytes + payload)}, the file has ${mebibytes(bytes.length)}; copy the file again`,
    );
  }
  const relocatable = version >= 0x0205 && view.getUint8(Header.RELOCATABLE) !== 0;
  return {
    version,
    setupBytes,
    has64: version >= 0x020c && (view.getUint16(Header.XLOADFLAGS, true) & XLF_KERNEL_64) !== 0,
    initrdMaximum: version >= 0x0203 ? view.getUint32(Header.INITRD_ADDR_MAX, true) : 0x37ffffff,
    commandLineMaximum: version >= 0x0206 ? view.getUint32(Header.CMDLINE_SIZE, true) : 255,
    preferred: version >= 0x020a ? readU64(view, Header.PREF_ADDRESS) : LOAD_ADDRESS,
    initBytes: version >= 0x020a ? view.getUint32(Header.INIT_SIZE, true) : relocatable ? 0 : bytes.length * 4,
  };
}

/** Throws `BootError` (`command-line-too-long`) for more than the kernel takes; the line ends in a zero. */
export function checkCommandLine(kernel: BootFile, { commandLineMaximum }: SetupHeader, line: Uint8Array): void {
  if (line.length - 1 <= commandLineMaximum) return;
  throw new BootError('command-line-too-long', `-append: ${line.length - 1} bytes; ${kernel.name} takes ${commandLineMaximum}; shorten it`);
}

/** Where the initrd goes: as high as the kernel allows, below the end of RAM. */
export function placeInitrd(initrd: BootFile | undefined, header: SetupHeader, kernelEnd: number, end: number): BootWrite | undefined {
  if (initrd === undefined || initrd.bytes.length === 0) return undefined;
  const top = Math.min(end, header.initrdMaximum + 1);
  const address = alignDown(top - initrd.bytes.length, 4096);
  if (address < kernelEnd) {
    throw new BootError(
      'initrd-too-large',
      `${initrd.name}: ${mebibytes(initrd.bytes.length)} do not fit between the kernel's end at ${hex(kernelEnd)} and ${hex(top)}; give the guest more memory (-m) or use a smaller initrd`,
    );
  }
  return { name: 'initrd', address, bytes: initrd.bytes };
}

function setupDataWrites(options: LinuxOptions, params: ByteWriter): BootWrite[] {
  const writes: BootWrite[] = [];
  let address: number = LowMemory.BOOT_PARAMS + 0x1000;
  let next = 0;
  for (const { type, bytes } of [...(options.setupData ?? [])].reverse()) {
    const node = new ByteWriter(16 + bytes.length);
    node.u64(0, next);
    node.u32(8, type);
    node.u32(12, bytes.length);
    node.bytes.set(bytes, 16);
    if (address + node.bytes.length > LowMemory.COMMAND_LINE)
      throw new BootError('too-little-memory', `setup_data: ${bytes.length} bytes do not fit below ${hex(LowMemory.COMMAND_LINE)}; pass less`);
    writes.push({ name: 'setup_data', address, bytes: node.bytes });
    next = address;
    address += Math.ceil(node.bytes.length / 16) * 16;
  }
  if (next !== 0) params.u64(Header.SETUP_DATA, next);
  return writes;
}

function bootParams(options: LinuxOptions, initrd: BootWrite | undefined): ByteWriter {
  const { bytes } = options.kernel;
  const params = new ByteWriter(4096);
  const headerEnd = Math.min(0x202 + bytes[Header.JUMP]!, 0x290);
  params.bytes.set(bytes.subarray(Header.SETUP_SECTS, headerEnd), Header.SETUP_SECTS);
  params.u8(Header.TYPE_OF_LOADER, 0xff);
  params.u8(Header.LOADFLAGS, params.bytes[Header.LOADFLAGS]! | CAN_USE_HEAP);
  params.u16(Header.HEAP_END, 0xfe00);
  params.u16(Header.VID_MODE, 0xffff);
  params.u32(Header.CODE32_START, LOAD_ADDRESS);
  params.u32(Header.CMD_LINE_PTR, LowMemory.COMMAND_LINE);
  params.u64(Header.ACPI_RSDP, options.rsdp ?? 0);
  params.u32(Header.ALT_MEM_K, (topOfLowRam(options.e820) - LOAD_ADDRESS) / 1024);
  if (initrd) {
    params.u32(Header.RAMDISK_IMAGE, initrd.address);
    params.u32(Header.RAMDISK_SIZE, initrd.bytes.length);
  }
  const entries = options.e820.slice(0, MAX_E820);
  params.u8(Header.E820_ENTRIES, entries.length);
  entries.forEach((entry, i) => {
    params.u64(Header.E820_TABLE + i * 20, entry.base);
    params.u64(Header.E820_TABLE + i * 20 + 8, entry.size);
    params.u32(Header.E820_TABLE + i * 20 + 16, entry.type);
  });
  return params;
}

/** Loads a bzImage; throws `BootError` (`truncated`, `unsupported`, `entry-missing`, `too-little-memory`, `initrd-too-large`, `command-line-too-long`). */
export function loadLinux(options: LinuxOptions): BootPlan {
  const { kernel, e820 } = options;
  const header = readHeader(kernel);
  const commandLine = zeroTerminated(options.commandLine ?? '');
  checkCommandLine(kernel, header, commandLine);
  const image = kernel.bytes.subarray(header.setupBytes);
  const runStart = Math.max(LOAD_ADDRESS, header.preferred);
  const kernelEnd = Math.max(LOAD_ADDRESS + image.length, runStart + header.initBytes);
  if (!isRam(e820, LOAD_ADDRESS, kernelEnd - LOAD_ADDRESS)) {
    throw new BootError(
      'too-little-memory',
      `${kernel.name}: unpacks up to ${hex(kernelEnd)}, RAM ends at ${hex(topOfLowRam(e820))}; give the guest at least ${Math.ceil(kernelEnd / 2 ** 20 / 16) * 16 + 16} MiB (-m)`,
    );
  }
  const use64 = header.has64 && options.entry !== '32-bit';
  if (header.has64 && !options.longMode) {
    throw new BootError(
      'entry-missing',
      `${kernel.name}: a 64-bit kernel, and the CPU has no long mode; choose another model (-cpu) or a 32-bit kernel`,
    );
  }
  const initrd = placeInitrd(options.initrd, header, kernelEnd, topOfLowRam(e820));
  const params = bootParams(options, initrd);
  const writes: BootWrite[] = [
    biosDataArea(),
    gdtWrite(use64 ? 'long' : 'protected'),
    ...(use64 ? [identityMap()] : []),
    { name: 'kernel', address: LOAD_ADDRESS, bytes: image },
    { name: 'command line', address: LowMemory.COMMAND_LINE, bytes: commandLine },
    ...(initrd ? [initrd] : []),
    ...setupDataWrites(options, params),
    { name: 'boot_params', address: LowMemory.BOOT_PARAMS, bytes: params.bytes },
  ];
  const registers = { rsi: LowMemory.BOOT_PARAMS, rsp: 0x8ff0 };
  const entry = use64 ? longEntry(LOAD_ADDRESS + 0x200, registers) : protectedEntry(LOAD_ADDRESS, registers);
  return { format: use64 ? 'bzimage-64' : 'bzimage-32', writes, entry };
}
