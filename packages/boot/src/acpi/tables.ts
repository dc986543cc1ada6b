import { ByteWriter } from '../bytes.js';
import { BootError } from '../errors.js';
import type { BootWrite } from '../plan.js';
import type { AcpiConfig } from './config.js';
import { dsdtBody } from './dsdt.js';

const OEM = 'NESTVM';
const HEADER_BYTES = 36;
/** Tables lie in the firmware area, where guests look for the RSDP by themselves. */
const AREA = { base: 0xe0000, end: 0xf0000 } as const;
const LOCAL_APIC = 0xfee00000;

/** The finished tables. */
export interface AcpiTables {
  readonly writes: readonly BootWrite[];
  /** Guest-physical address of the RSDP. */
  readonly rsdp: number;
  readonly rsdpBytes: Uint8Array;
  /** Where addresses of other tables are, for firmware that moves the tables. */
  readonly pointers: readonly AcpiPointer[];
}

/** A field that holds the address of a table. */
export interface AcpiPointer {
  /** Guest-physical address of the field. */
  readonly at: number;
  readonly bytes: 4 | 8;
}

/** Fields of the FADT that point to the FACS and to the DSDT, short and long. */
const FACS_POINTERS: readonly AcpiPointer[] = [
  { at: 36, bytes: 4 },
  { at: 132, bytes: 8 },
];
const DSDT_POINTERS: readonly AcpiPointer[] = [
  { at: 40, bytes: 4 },
  { at: 140, bytes: 8 },
];
const RSDP_BYTES = 36;

/** Makes the bytes sum to 0 modulo 256 by setting the byte at `at`. */
function setChecksum(bytes: Uint8Array, at: number): void {
  bytes[at] = 0;
  bytes[at] = -bytes.reduce((sum, byte) => sum + byte, 0) & 0xff;
}

/** A table with its header. */
export function acpiTable(signature: string, revision: number, body: Uint8Array): Uint8Array {
  const table = new ByteWriter(HEADER_BYTES + body.length);
  table.text(0, signature);
  table.u32(4, HEADER_BYTES + body.length);
  table.u8(8, revision);
  table.text(10, OEM);
  table.text(16, `${OEM}PC`);
  table.u32(24, 1);
  table.text(28, 'NVM ');
  table.u32(32, 1);
  table.bytes.set(body, HEADER_BYTES);
  setChecksum(table.bytes, 9);
  return table.bytes;
}

/** FADT flags ("ACPI Specification", Fixed ACPI Description Table Fixed Feature Flags). */
const Fadt = { WBINVD: 1, PROC_C1: 4, SLP_BUTTON: 0x20, RTC_S4: 0x80, TIMER_32: 0x100, RESET_REGISTER: 0x400, HARDWARE_REDUCED: 0x100000 } as const;
const BOOT_LEGACY = 1;
const BOOT_8042 = 2;
const SPACE_IO = 1;

/** A generic address structure at `at` of a table body. */
function genericAddress(table: ByteWriter, at: number, space: number, bits: number, access: number, address: number): void {
  table.u8(at, space);
  table.u8(at + 1, bits);
  table.u8(at + 3, access);
  table.u64(at + 4, address);
}

function fadt(config: AcpiConfig, facs: number, dsdt: number): Uint8Array {
  const { pm } = config;
  const table = new ByteWriter(276 - HEADER_BYTES);
  /** Offsets as the specification prints them, from the start of the table. */
  const at = (offset: number): number => offset - HEADER_BYTES;
  table.u32(at(36), pm ? facs : 0);
  table.u32(at(40), dsdt);
  table.u64(at(132), pm ? facs : 0);
  table.u64(at(140), dsdt);
  table.u16(at(109), BOOT_LEGACY | (config.legacy.keyboard ? BOOT_8042 : 0));
  table.u8(at(108), config.legacy.rtc ? 0x32 : 0);
  let flags: number = Fadt.WBINVD | Fadt.PROC_C1 | Fadt.SLP_BUTTON | Fadt.RESET_REGISTER;
  genericAddress(table, at(116), SPACE_IO, 8, 1, 0xcf9);
  table.u8(at(128), 0x0f);
  if (pm === undefined) {
    // Hardware-reduced ACPI: sleep control through the sleep registers, of which there are none here.
    table.u32(at(112), flags | Fadt.HARDWARE_REDUCED);
    return acpiTable('FACP', 6, table.bytes);
  }
  if (pm.timer32) flags |= Fadt.TIMER_32;
  table.u16(at(46), pm.sciInterrupt);
  table.u32(at(48), pm.smiCommandPort);
  table.u8(at(52), pm.acpiEnable);
  table.u8(at(53), pm.acpiDisable);
  table.u32(at(56), pm.base);
  table.u32(at(64), pm.base + 4);
  table.u32(at(76), pm.base + 8);
  table.u32(at(80), pm.gpeBase);
  table.u8(at(88), 4);
  table.u8(at(89), 2);
  table.u8(at(91), 4);
  table.u8(at(92), pm.gpeBytes);
  // C2 and C3 do not exist: latencies above the limits say so.
  table.u16(at(96), 0xfff);
  table.u16(at(98), 0xfff);
  table.u32(at(112), flags | Fadt.RTC_S4);
  genericAddress(table, at(148), SPACE_IO, 32, 2, pm.base);
  genericAddress(table, at(172), SPACE_IO, 16, 2, pm.base + 4);
  genericAddress(table, at(208), SPACE_IO, 32, 3, pm.base + 8);
  genericAddress(table, at(220), SPACE_IO, pm.gpeBytes * 8, 1, pm.gpeBase);
  return acpiTable('FACP', 5, table.bytes);
}

/** Level-triggered, active high, in the flags of MADT overrides; 0: as the bus has it. */
const LEVEL_HIGH = 0x0d;

function madt(config: AcpiConfig): Uint8Array {
  const parts: number[] = [];
  const dword = (value: number): number[] => [0, 8, 16, 24].map((shift) => (value >>> shift) & 0xff);
  parts.push(...dword(LOCAL_APIC), ...dword(1));
  config.apicIds.forEach((id, uid) => {
    if (id < 255) parts.push(0, 8, uid, id, ...dword(1));
    else parts.push(9, 16, 0, 0, ...dword(id), ...dword(1), ...dword(uid));
  });
  if (config.ioApic) {
    parts.push(1, 12, config.ioApic.id, 0, ...dword(config.ioApic.address), ...dword(0));
    parts.push(2, 10, 0, 0, ...dword(2), 0, 0);
    const levels = [...(config.pm ? [config.pm.sciInterrupt] : []), ...(config.chipset === 'i440fx' ? [5, 10, 11] : [])];
    for (const irq of [...new Set(levels)].sort((a, b) => a - b)) parts.push(2, 10, 0, irq, ...dword(irq), LEVEL_HIGH, 0);
  }
  // LINT1 of every CPU is NMI.
  parts.push(4, 6, 0xff, 0, 0, 1);
  return acpiTable('APIC', 3, Uint8Array.from(parts));
}

function hpet(address: number): Uint8Array {
  const table = new ByteWriter(20);
  // Event timer block: Intel's vendor number, legacy replacement, 64-bit counter, three timers, revision 1.
  table.u32(0, 0x8086a201);
  genericAddress(table, 4, 0, 0, 0, address);
  return acpiTable('HPET', 1, table.bytes);
}

function mcfg(ecam: { address: number; buses: number }): Uint8Array {
  const table = new ByteWriter(8 + 16);
  table.u64(8, ecam.address);
  table.u8(19, ecam.buses - 1);
  return acpiTable('MCFG', 1, table.bytes);
}

function facs(): Uint8Array {
  const table = new ByteWriter(64);
  table.text(0, 'FACS');
  table.u32(4, 64);
  table.u8(32, 1);
  return table.bytes;
}

function rsdp(rsdt: number, xsdt: number): Uint8Array {
  const table = new ByteWriter(36);
  table.text(0, 'RSD PTR ');
  table.text(9, OEM);
  table.u8(15, 2);
  table.u32(16, rsdt);
  table.u32(20, 36);
  table.u64(24, xsdt);
  const first = table.bytes.subarray(0, 20);
  setChecksum(first, 8);
  setChecksum(table.bytes, 32);
  return table.bytes;
}

/** Hands out addresses in an area for tables. */
class TableArea {
  readonly writes: BootWrite[] = [];
  #next: number;

  constructor(
    base: number,
    readonly end: number,
  ) {
    this.#next = base;
  }

  place(name: string, bytes: Uint8Array, alignment = 16): number {
    const address = Math.ceil(this.#next / alignment) * alignment;
    this.#next = address + bytes.length;
    if (this.#next > this.end)
      throw new BootError('tables-too-large', `ACPI: ${name} ends at 0x${this.#next.toString(16)}, beyond the firmware area; use fewer CPUs`);
    this.writes.push({ name: `ACPI ${name}`, address, bytes });
    return address;
  }
}

/** RSDT and XSDT for tables at these addresses: where they are, and their pointers. */
function placeRoots(area: TableArea, tables: readonly number[]): { rsdt: number; xsdt: number; pointers: AcpiPointer[] } {
  const short = new ByteWriter(tables.length * 4);
  const long = new ByteWriter(tables.length * 8);
  tables.forEach((address, i) => {
    short.u32(i * 4, address);
    long.u64(i * 8, address);
  });
  const rsdt = area.place('RSDT', acpiTable('RSDT', 1, short.bytes));
  const xsdt = area.place('XSDT', acpiTable('XSDT', 1, long.bytes));
  const pointers = tables.flatMap((_, i): AcpiPointer[] => [
    { at: rsdt + HEADER_BYTES + 4 * i, bytes: 4 },
    { at: xsdt + HEADER_BYTES + 8 * i, bytes: 8 },
  ]);
  return { rsdt, xsdt, pointers };
}

/** Builds RSDP, RSDT, XSDT, FADT, FACS, DSDT, MADT, HPET and MCFG for a board; throws `BootError` (`tables-too-large`). */
export function buildAcpi(config: AcpiConfig, { base, end }: { readonly base: number; readonly end: number } = AREA): AcpiTables {
  const area = new TableArea(base, end);
  const rsdpAddress = area.place('RSDP', new Uint8Array(RSDP_BYTES));
  const facsAddress = area.place('FACS', facs(), 64);
  const dsdt = area.place('DSDT', acpiTable('DSDT', 2, dsdtBody(config)));
  const fadtAddress = area.place('FADT', fadt(config, facsAddress, dsdt));
  const tables = [fadtAddress, area.place('MADT', madt(config))];
  if (config.hpet) tables.push(area.place('HPET', hpet(config.hpet.address)));
  if (config.ecam) tables.push(area.place('MCFG', mcfg(config.ecam)));
  const { rsdt, xsdt, pointers } = placeRoots(area, tables);
  const rsdpBytes = rsdp(rsdt, xsdt);
  area.writes[0] = { name: 'ACPI RSDP', address: rsdpAddress, bytes: rsdpBytes };
  const own: AcpiPointer[] = [
    { at: rsdpAddress + 16, bytes: 4 },
    { at: rsdpAddress + 24, bytes: 8 },
    ...[...(config.pm ? FACS_POINTERS : []), ...DSDT_POINTERS].map(({ at, bytes }) => ({ at: fadtAddress + at, bytes })),
  ];
  return { writes: area.writes, rsdp: rsdpAddress, rsdpBytes, pointers: [...own, ...pointers] };
}
