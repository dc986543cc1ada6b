import { ByteWriter, latin1 } from './bytes.js';

/** What the tables describe. */
export interface SmbiosConfig {
  readonly below4G: number;
  readonly above4G: number;
  readonly sockets: number;
  readonly coresPerSocket: number;
  readonly threadsPerSocket: number;
  readonly cpuVendor: string;
  readonly cpuName: string;
  /** EAX and EDX of CPUID leaf 1. */
  readonly cpuSignature: number;
  readonly cpuFeatures: number;
  /** What the machine is called. */
  readonly board: string;
  readonly serial?: string;
  /** 16 bytes in the order of the text form. */
  readonly uuid?: Uint8Array;
  /** Other texts for fields: by type of structure and QEMU's name of the field, as `1` and `manufacturer`. */
  readonly texts?: SmbiosTexts;
  /** Release of the BIOS: major, minor. */
  readonly biosRelease?: readonly [number, number];
  /** The BIOS says that it is UEFI. */
  readonly uefi?: boolean;
  /** MHz. */
  readonly maxSpeed?: number;
  readonly currentSpeed?: number;
  readonly memorySpeed?: number;
  /** Texts of a structure of type 11. */
  readonly oemStrings?: readonly string[];
  /** Whole structures with their texts, in place of those of the same type. */
  readonly structures?: readonly Uint8Array[];
}

/** Texts by type of structure and QEMU's name of the field. */
export type SmbiosTexts = { readonly [type: number]: { readonly [field: string]: string } };

/** The tables and the entry point that names their address. */
export interface SmbiosTables {
  readonly tables: Uint8Array;
  /** The 32-bit entry point for tables at `address`. */
  readonly anchor: (address: number) => Uint8Array;
}

const VENDOR = 'Nestvm';
const SPEED_MHZ = 1000;
const NO_HANDLE = 0xffff;
const NO_ERRORS = 0xfffe;
const Handle = {
  BIOS: 0x000,
  SYSTEM: 0x100,
  BASEBOARD: 0x200,
  CHASSIS: 0x300,
  PROCESSOR: 0x400,
  ARRAY: 0x1000,
  DEVICE: 0x1100,
  MAPPED: 0x1300,
  OEM: 0xe00,
  BOOT: 0x2000,
  END: 0x7f00,
} as const;
/** Sizes of memory in 16 bits of MiB end here; a larger one has its own field. */
const LARGE_MIB = 0x7fff;
const DEVICE_BYTES = 16 * 2 ** 30;
const KIB = 1024;

/** A field: bytes of a number, or a string of the table. */
type Field = readonly [bytes: 1 | 2 | 4 | 8, value: number] | string | Uint8Array;

/** One structure: header, fields in their order, strings ("System Management BIOS Reference Specification", Structure standards). */
function structure(type: number, handle: number, fields: readonly Field[]): Uint8Array {
  const strings: string[] = [];
  const formatted = fields.map((field) => {
    if (field instanceof Uint8Array) return field;
    if (typeof field === 'string') return Uint8Array.of(field === '' ? 0 : strings.push(field));
    const writer = new ByteWriter(8);
    writer.u64(0, field[1]);
    return writer.bytes.subarray(0, field[0]);
  });
  const length = 4 + formatted.reduce((sum, { length: bytes }) => sum + bytes, 0);
  const header = Uint8Array.of(type, length, handle & 0xff, handle >> 8);
  const text = strings.length === 0 ? Uint8Array.of(0, 0) : latin1(`${strings.map((string) => `${string}\0`).join('')}\0`);
  return joined([header, ...formatted, text]);
}

function joined(parts: readonly Uint8Array[]): Uint8Array {
  const bytes = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}

/** A UUID as SMBIOS keeps it: the first three fields are little-endian. */
const uuidBytes = (uuid: Uint8Array = new Uint8Array(16)): Uint8Array =>
  Uint8Array.from([3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15], (from) => uuid[from]!);

/** The text of a field. */
const textFor = ({ texts }: SmbiosConfig, type: number, field: string, otherwise = ''): string => texts?.[type]?.[field] ?? otherwise;

// biome-ignore-start format: one field a line or group, as the specification's tables have them
const bios = (config: SmbiosConfig): Uint8Array =>
  structure(0, Handle.BIOS, [
    textFor(config, 0, 'vendor', VENDOR),
    textFor(config, 0, 'version', '1'),
    [2, 0xe800],
    textFor(config, 0, 'date', '01/01/2026'),
    [1, 0],
    // Characteristics are not supported; the extension: ACPI is not said here, targeted content distribution and virtual machine are.
    [8, 0x08],
    [1, 0],
    [1, config.uefi ? 0x1c : 0x14],
    [1, config.biosRelease?.[0] ?? 0],
    [1, config.biosRelease?.[1] ?? 0],
    [1, 0xff],
    [1, 0xff],
  ]);

const system = (config: SmbiosConfig): Uint8Array =>
  structure(1, Handle.SYSTEM, [
    textFor(config, 1, 'manufacturer', VENDOR),
    textFor(config, 1, 'product', `Nestvm ${config.board}`),
    textFor(config, 1, 'version', config.board),
    textFor(config, 1, 'serial', config.serial),
    uuidBytes(config.uuid),
    [1, 6],
    textFor(config, 1, 'sku'),
    textFor(config, 1, 'family'),
  ]);

const baseboard = (config: SmbiosConfig): Uint8Array =>
  structure(2, Handle.BASEBOARD, [
    textFor(config, 2, 'manufacturer', VENDOR),
    textFor(config, 2, 'product'),
    textFor(config, 2, 'version'),
    textFor(config, 2, 'serial'),
    textFor(config, 2, 'asset'),
    // A hosting board; a motherboard.
    [1, 1],
    textFor(config, 2, 'location'),
    [2, Handle.CHASSIS],
    [1, 0x0a],
    [1, 0],
  ]);

const chassis = (config: SmbiosConfig): Uint8Array =>
  structure(3, Handle.CHASSIS, [
    textFor(config, 3, 'manufacturer', VENDOR),
    [1, 1],
    textFor(config, 3, 'version', config.board),
    textFor(config, 3, 'serial'),
    textFor(config, 3, 'asset'),
    // States are safe, security unknown; no height, cords or contained elements.
    [1, 3],
    [1, 3],
    [1, 3],
    [1, 2],
    [4, 0],
    [1, 0],
    [1, 0],
    [1, 0],
    [1, 0],
    textFor(config, 3, 'sku'),
  ]);

const processor = (config: SmbiosConfig, socket: number): Uint8Array =>
  structure(4, Handle.PROCESSOR + socket, [
    `${textFor(config, 4, 'sock_pfx', 'CPU')} ${socket}`,
    [1, 3],
    [1, 1],
    textFor(config, 4, 'manufacturer', config.cpuVendor),
    [4, config.cpuSignature],
    [4, config.cpuFeatures],
    textFor(config, 4, 'version', config.cpuName),
    [1, 0],
    [2, 0],
    [2, config.maxSpeed ?? SPEED_MHZ],
    [2, config.currentSpeed ?? SPEED_MHZ],
    [1, 0x41],
    [1, 1],
    [2, NO_HANDLE],
    [2, NO_HANDLE],
    [2, NO_HANDLE],
    textFor(config, 4, 'serial'),
    textFor(config, 4, 'asset'),
    textFor(config, 4, 'part'),
    [1, Math.min(255, config.coresPerSocket)],
    [1, Math.min(255, config.coresPerSocket)],
    [1, Math.min(255, config.threadsPerSocket)],
    [2, 2],
    [2, 1],
  ]);

const memoryArray = (bytes: number, devices: number): Uint8Array => {
  const kib = bytes / KIB;
  return structure(16, Handle.ARRAY, [
    [1, 1],
    [1, 3],
    [1, 6],
    [4, kib < 0x80000000 ? kib : 0x80000000],
    [2, NO_ERRORS],
    [2, devices],
    [8, kib < 0x80000000 ? 0 : bytes],
  ]);
};

const memoryDevice = (config: SmbiosConfig, bytes: number, index: number): Uint8Array => {
  const mib = Math.ceil(bytes / KIB / KIB);
  return structure(17, Handle.DEVICE + index, [
    [2, Handle.ARRAY],
    [2, NO_ERRORS],
    [2, NO_HANDLE],
    [2, NO_HANDLE],
    [2, Math.min(mib, LARGE_MIB)],
    [1, 9],
    [1, 0],
    `${textFor(config, 17, 'loc_pfx', 'DIMM')} ${index}`,
    textFor(config, 17, 'bank'),
    [1, 7],
    [2, 2],
    [2, config.memorySpeed ?? 0],
    textFor(config, 17, 'manufacturer', VENDOR),
    textFor(config, 17, 'serial'),
    textFor(config, 17, 'asset'),
    textFor(config, 17, 'part'),
    [1, 0],
    [4, mib < LARGE_MIB ? 0 : mib],
    [2, config.memorySpeed ?? 0],
    [2, 0],
    [2, 0],
    [2, 0],
  ]);
};

const mappedRange = (base: number, bytes: number, index: number): Uint8Array =>
  structure(19, Handle.MAPPED + index, [
    ...(base + bytes <= 0xffffffff * KIB
      ? ([
          [4, base / KIB],
          [4, (base + bytes) / KIB - 1],
        ] as const)
      : ([
          [4, 0xffffffff],
          [4, 0xffffffff],
        ] as const)),
    [2, Handle.ARRAY],
    [1, 1],
    ...(base + bytes <= 0xffffffff * KIB
      ? ([
          [8, 0],
          [8, 0],
        ] as const)
      : ([
          [8, base],
          [8, base + bytes - 1],
        ] as const)),
  ]);
// biome-ignore-end format: one field a line or group, as the specification's tables have them

/** Texts of the maker: a count, then the texts. */
const oem = (strings: readonly string[]): Uint8Array => {
  const bytes = structure(11, Handle.OEM, strings);
  // Not a field for each text, but how many there are.
  return joined([Uint8Array.of(11, 5, bytes[2]!, bytes[3]!, strings.length), bytes.subarray(4 + strings.length)]);
};

/** Builds structures of types 0, 1, 3, 4, 16, 17, 19, 32 and 127 of SMBIOS 2.8 for a machine, 2 and 11 where something is said of them. */
export function buildSmbios(config: SmbiosConfig): SmbiosTables {
  const { below4G, above4G, sockets, structures: given = [], oemStrings = [] } = config;
  const bytes = below4G + above4G;
  const devices = Math.ceil(bytes / DEVICE_BYTES);
  const own = [
    bios(config),
    system(config),
    ...(config.texts?.[2] ? [baseboard(config)] : []),
    chassis(config),
    ...Array.from({ length: sockets }, (_, socket) => processor(config, socket)),
    memoryArray(bytes, devices),
    ...Array.from({ length: devices }, (_, i) => memoryDevice(config, Math.min(DEVICE_BYTES, bytes - i * DEVICE_BYTES), i)),
    mappedRange(0, below4G, 0),
    ...(above4G > 0 ? [mappedRange(2 ** 32, above4G, 1)] : []),
    structure(32, Handle.BOOT, [new Uint8Array(6), [1, 0]]),
    ...(oemStrings.length > 0 ? [oem(oemStrings)] : []),
  ];
  const replaced = new Set(given.map(([type]) => type));
  const structures = [...own.filter(([type]) => !replaced.has(type)), ...given, structure(127, Handle.END, [])];
  const tables = joined(structures);
  const largest = Math.max(...structures.map(({ length }) => length));
  return { tables, anchor: (address) => entryPoint(address, tables.length, structures.length, largest) };
}

function entryPoint(address: number, length: number, count: number, largest: number): Uint8Array {
  const entry = new ByteWriter(31);
  entry.text(0, '_SM_');
  entry.u8(5, 31);
  entry.u8(6, 2);
  entry.u8(7, 8);
  entry.u16(8, largest);
  entry.text(16, '_DMI_');
  entry.u16(22, length);
  entry.u32(24, address);
  entry.u16(28, count);
  entry.u8(30, 0x28);
  const sum = (from: number): number => -entry.bytes.subarray(from).reduce((total, byte) => total + byte, 0) & 0xff;
  entry.u8(21, sum(16));
  entry.u8(4, sum(0));
  return entry.bytes;
}
