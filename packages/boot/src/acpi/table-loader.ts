import { ByteWriter } from '../bytes.js';
import type { AcpiConfig } from './config.js';
import { buildAcpi } from './tables.js';

/** The files by which firmware gets ACPI tables from QEMU's firmware configuration device. */
export interface AcpiFiles {
  readonly 'etc/acpi/rsdp': Uint8Array;
  readonly 'etc/acpi/tables': Uint8Array;
  /** What to do with the other two. */
  readonly 'etc/table-loader': Uint8Array;
}

const TABLES = 'etc/acpi/tables';
const RSDP = 'etc/acpi/rsdp';
const LARGEST = 0x20000;
/** Commands of the linker and loader script, and where an allocation goes. */
const Command = { ALLOCATE: 1, ADD_POINTER: 2, ADD_CHECKSUM: 3 } as const;
const Zone = { HIGH: 1, FSEG: 2 } as const;
const ENTRY_BYTES = 128;
const NAME_BYTES = 56;
/** Where a table's own checksum is, and the two of the RSDP. */
const CHECKSUM = 9;
const RSDP_CHECKSUMS = [
  { at: 8, length: 20 },
  { at: 32, length: 36 },
] as const;

class Script {
  readonly #entries: Uint8Array[] = [];

  allocate(file: string, alignment: number, zone: number): void {
    const entry = this.#entry(Command.ALLOCATE, file);
    entry.u32(4 + NAME_BYTES, alignment);
    entry.u8(8 + NAME_BYTES, zone);
  }

  /** Adds the address that `target` was given to a field of `file`. */
  addPointer(file: string, target: string, offset: number, bytes: number): void {
    const entry = this.#entry(Command.ADD_POINTER, file);
    entry.text(4 + NAME_BYTES, target);
    entry.u32(4 + 2 * NAME_BYTES, offset);
    entry.u8(8 + 2 * NAME_BYTES, bytes);
  }

  addChecksum(file: string, offset: number, start: number, length: number): void {
    const entry = this.#entry(Command.ADD_CHECKSUM, file);
    [offset, start, length].forEach((value, i) => entry.u32(4 + NAME_BYTES + 4 * i, value));
  }

  finish(): Uint8Array {
    const bytes = new Uint8Array(this.#entries.length * ENTRY_BYTES);
    this.#entries.forEach((entry, i) => bytes.set(entry, i * ENTRY_BYTES));
    return bytes;
  }

  #entry(command: number, file: string): ByteWriter {
    const entry = new ByteWriter(ENTRY_BYTES);
    entry.u32(0, command);
    entry.text(4, file);
    this.#entries.push(entry.bytes);
    return entry;
  }
}

/** The tables of a board for firmware that places them itself ("ACPI tables by QEMU's firmware configuration device"); throws `BootError` (`tables-too-large`). */
export function buildAcpiFiles(config: AcpiConfig): AcpiFiles {
  const { writes, pointers } = buildAcpi(config, { base: 0, end: LARGEST });
  const [rsdp, ...tables] = writes;
  const start = tables[0]!.address;
  const last = tables.at(-1)!;
  const bytes = new Uint8Array(last.address + last.bytes.length - start);
  for (const table of tables) bytes.set(table.bytes, table.address - start);
  const script = new Script();
  script.allocate(RSDP, 16, Zone.FSEG);
  script.allocate(TABLES, 64, Zone.HIGH);
  const rsdpBytes = rsdp!.bytes.slice();
  // In the files an address is an offset into the tables.
  for (const { at, bytes: size } of pointers) {
    const file = at < start ? rsdpBytes : bytes;
    const offset = at < start ? at : at - start;
    const view = new DataView(file.buffer, file.byteOffset);
    view.setUint32(offset, view.getUint32(offset, true) - start, true);
    script.addPointer(at < start ? RSDP : TABLES, TABLES, offset, size);
  }
  // Firmware sums over the place of the checksum, too, and OVMF takes what comes out for the checksum: that is right where the place is 0 before.
  for (const { name, address, bytes: table } of tables) {
    if (name === 'ACPI FACS') continue;
    bytes[address - start + CHECKSUM] = 0;
    script.addChecksum(TABLES, address - start + CHECKSUM, address - start, table.length);
  }
  for (const { at, length } of RSDP_CHECKSUMS) {
    rsdpBytes[at] = 0;
    script.addChecksum(RSDP, at, 0, length);
  }
  return { [RSDP]: rsdpBytes, [TABLES]: bytes, 'etc/table-loader': script.finish() };
}
