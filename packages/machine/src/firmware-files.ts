import { type AcpiConfig, type BootWrite, buildAcpiFiles, buildSmbios, type SmbiosTables } from '@nestvm/boot';
import type { Board, RamLayout } from './boards.js';
import type { MachineConfig } from './config.js';

const RAM = 1;
/** Where the SMBIOS entry point of a machine without firmware is, and its tables behind it. */
const SMBIOS_BASE = 0xf5000;
const SMBIOS_LIMIT = 0xfffff;
const TABLES_AT = 32;

/** What the files are made from. */
export interface FirmwareFacts {
  readonly config: MachineConfig;
  readonly board: Board;
  readonly ram: RamLayout;
  readonly acpi?: AcpiConfig;
}

/** RAM as the firmware configuration device lists it: address, length and type of each range. */
function ramMap({ below4G, above4G }: RamLayout): Uint8Array {
  const ranges = [{ base: 0, size: below4G }, ...(above4G > 0 ? [{ base: 2 ** 32, size: above4G }] : [])];
  const bytes = new Uint8Array(ranges.length * 20);
  const view = new DataView(bytes.buffer);
  ranges.forEach(({ base, size }, i) => {
    [base, size].forEach((value, part) => {
      view.setUint32(20 * i + 8 * part, value % 2 ** 32, true);
      view.setUint32(20 * i + 8 * part + 4, value / 2 ** 32, true);
    });
    view.setUint32(20 * i + 16, RAM, true);
  });
  return bytes;
}

/** The SMBIOS tables of a machine. */
function machineSmbios({ cpu, smbios }: MachineConfig, board: Board, ram: RamLayout): SmbiosTables {
  const { sockets, cores, threads } = cpu.topology;
  const { eax, edx } = cpu.cpuid(1, 0, { apicId: 0, apicEnabled: true, cr4: 0, xcr0: 1, xss: 0, limitMaximum: false });
  return buildSmbios({
    ...ram,
    sockets,
    coresPerSocket: cores,
    threadsPerSocket: cores * threads,
    cpuVendor: cpu.vendor,
    cpuName: cpu.name,
    cpuSignature: eax >>> 0,
    cpuFeatures: edx >>> 0,
    board: board.name,
    ...smbios,
  });
}

/** The SMBIOS tables where guests look for them when no firmware does; nothing where they do not fit. */
export function smbiosWrites(config: MachineConfig, board: Board, ram: RamLayout): BootWrite[] {
  const { tables, anchor } = machineSmbios(config, board, ram);
  const bytes = new Uint8Array(TABLES_AT + tables.length);
  bytes.set(anchor(SMBIOS_BASE + TABLES_AT));
  bytes.set(tables, TABLES_AT);
  return SMBIOS_BASE + bytes.length <= SMBIOS_LIMIT ? [{ name: 'SMBIOS', address: SMBIOS_BASE, bytes }] : [];
}

const littleEndian = (value: number, bytes: number): Uint8Array => Uint8Array.from({ length: bytes }, (_, i) => value / 2 ** (8 * i));

/** The files that firmware looks for in the firmware configuration device, by name. */
export function firmwareFiles({ config, board, ram, acpi }: FirmwareFacts): Map<string, Uint8Array> {
  const { tables, anchor } = machineSmbios(config, board, ram);
  const { menuWaitMs, failWaitMs, files } = config.boot ?? {};
  return new Map<string, Uint8Array>([
    ['etc/e820', ramMap(ram)],
    ['etc/smbios/smbios-tables', tables],
    ['etc/smbios/smbios-anchor', anchor(0)],
    // S3 is not offered; S4 and S5 have their sleep types.
    ['etc/system-states', Uint8Array.of(128, 0, 0, 1, 128 | 2, 128)],
    ...(acpi ? (Object.entries(buildAcpiFiles(acpi)) as [string, Uint8Array][]) : []),
    ...(menuWaitMs === undefined ? [] : [['etc/boot-menu-wait', littleEndian(menuWaitMs, 2)] as const]),
    ...(failWaitMs === undefined ? [] : [['etc/boot-fail-wait', littleEndian(failWaitMs, 4)] as const]),
    ...(files ?? []).map(({ name, bytes }) => [name, bytes] as const),
  ]);
}
