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
}

/** The tables and the entry point that names their address. */
export interface SmbiosTables {
  readonly tables: Uint8Array;
  /** The 32-bit entry point for tables at `address`. */
  readonly anchor: (address: number) => Uint8Array;
}

const VENDOR = 'Nestvm';
const NO_HANDLE = 0xffff;
const NO_ERRORS = 0xfffe;
const Handle = {
  BIOS: 0x000,
  SYSTEM: 0x100,
  CHASSIS: 0x300,
  PROCESSOR: 0x400,
  ARRAY: 0x1000,
  DEVICE: 0x1100,
  MAPPED: 0x1300,
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

// biome-ignore-start format: one field a line or group, as the specification's tables have them
const bios = (): Uint8Array =>
  structure(0, Handle.BIOS, [
    VENDOR,
    '1',
    [2, 0xe800],
    '01/01/2026',
    [1, 0],
    // Characteristics are not supported; the extension: ACPI is not said here, targeted content distribution and virtual machine are.
    [8, 0x08],
    [1, 0],
    [1, 0x14],
    [1, 0],
    [1, 0],
    [1, 0xff],
    [1, 0xff],
  ]);

const system = ({ board, serial = '', uuid }: SmbiosConfig): Uint8Array =>
  structure(1, Handle.SYSTEM, [VENDOR, `Nestvm ${board}`, board, serial, uuidBytes(uuid), [1, 6], '', '']);

const chassis = ({ board }: SmbiosConfig): Uint8Array =>
  structure(3, Handle.CHASSIS, [
    VENDOR,
    [1, 1],
    board,
    '',
    '',
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
    '',
  ]);

const processor = (config: SmbiosConfig, socket: number): Uint8Array =>
  structure(4, Handle.PROCESSOR + socket, [
    `CPU ${socket}`,
    [1, 3],
    [1, 1],
    config.cpuVendor,
    [4, config.cpuSignature],
    [4, config.cpuFeatures],
    config.cpuName,
    [1, 0],
    [2, 0],
    [2, 1000],
    [2, 1000],
    [1, 0x41],
    [1, 1],
    [2, NO_HANDLE],
    [2, NO_HANDLE],
    [2, NO_HANDLE],
    '',
    '',
    '',
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

const memoryDevice = (bytes: number, index: number): Uint8Array => {
  const mib = Math.ceil(bytes / KIB / KIB);
  return structure(17, Handle.DEVICE + index, [
    [2, Handle.ARRAY],
    [2, NO_ERRORS],
    [2, NO_HANDLE],
    [2, NO_HANDLE],
    [2, Math.min(mib, LARGE_MIB)],
    [1, 9],
    [1, 0],
    `DIMM ${index}`,
    '',
    [1, 7],
    [2, 2],
    [2, 0],
    VENDOR,
    '',
    '',
    '',
    [1, 0],
    [4, mib < LARGE_MIB ? 0 : mib],
    [2, 0],
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

/** Builds structures of types 0, 1, 3, 4, 16, 17, 19, 32 and 127 of SMBIOS 2.8 for a machine. */
export function buildSmbios(config: SmbiosConfig): SmbiosTables {
  const { below4G, above4G, sockets } = config;
  const bytes = below4G + above4G;
  const devices = Math.ceil(bytes / DEVICE_BYTES);
  const structures = [
    bios(),
    system(config),
    chassis(config),
    ...Array.from({ length: sockets }, (_, socket) => processor(config, socket)),
    memoryArray(bytes, devices),
    ...Array.from({ length: devices }, (_, i) => memoryDevice(Math.min(DEVICE_BYTES, bytes - i * DEVICE_BYTES), i)),
    mappedRange(0, below4G, 0),
    ...(above4G > 0 ? [mappedRange(2 ** 32, above4G, 1)] : []),
    structure(32, Handle.BOOT, [new Uint8Array(6), [1, 0]]),
    structure(127, Handle.END, []),
  ];
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
