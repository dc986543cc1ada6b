import { expect, it } from 'vitest';
import { type AcpiConfig, buildAcpiFiles, buildSmbios } from '../src/index.js';

const acpi: AcpiConfig = {
  chipset: 'i440fx',
  apicIds: [0, 1],
  ioApic: { address: 0xfec00000, id: 0 },
  hpet: { address: 0xfed00000 },
  pm: {
    base: 0x600,
    gpeBase: 0xafe0,
    gpeBytes: 4,
    smiCommandPort: 0xb2,
    acpiEnable: 0xf1,
    acpiDisable: 0xf0,
    timer32: false,
    sciInterrupt: 9,
    sleepTypes: { s5: 0 },
  },
  legacy: { serial: [], rtc: true, keyboard: true, pit: true },
  pciHole: { base: 0xc0000000, end: 0xfec00000 },
};

/** How checksums are mended: SeaBIOS subtracts from what is there, OVMF puts another in its place. */
const MENDERS = { SeaBIOS: (before: number, sum: number) => before - sum, OVMF: (_before: number, sum: number) => -sum };

/** Does what firmware does with the script: places the files, adds addresses, mends checksums. */
function link(addresses: Readonly<Record<string, number>>, mend: (before: number, sum: number) => number): Record<string, Uint8Array> {
  const files = buildAcpiFiles(acpi);
  const placed: Record<string, Uint8Array> = {};
  const script = files['etc/table-loader'];
  const view = new DataView(script.buffer);
  const text = (at: number): string => new TextDecoder().decode(script.subarray(at, script.indexOf(0, at)));
  for (let at = 0; at < script.length; at += 128) {
    const command = view.getUint32(at, true);
    const name = text(at + 4);
    if (command === 1) placed[name] = files[name as keyof typeof files].slice();
    const bytes = placed[name]!;
    const fields = new DataView(bytes.buffer);
    if (command === 2) {
      const [target, offset] = [text(at + 60), view.getUint32(at + 116, true)];
      fields.setUint32(offset, fields.getUint32(offset, true) + addresses[target]!, true);
    } else if (command === 3) {
      const [offset, start, length] = [60, 64, 68].map((from) => view.getUint32(at + from, true)) as [number, number, number];
      const sum = bytes.subarray(start, start + length).reduce((total, byte) => total + byte, 0);
      bytes[offset] = mend(bytes[offset]!, sum) & 0xff;
    }
  }
  return placed;
}

it.each(Object.entries(MENDERS))('ACPI tables find each other wherever %s puts them, with right checksums', (_name, mend) => {
  const base = 0x7ffe000;
  const placed = link({ 'etc/acpi/rsdp': 0xf6000, 'etc/acpi/tables': base }, mend);
  const rsdp = placed['etc/acpi/rsdp']!;
  const tables = placed['etc/acpi/tables']!;
  const view = new DataView(tables.buffer);
  const sum = (bytes: Uint8Array): number => bytes.reduce((total, byte) => total + byte, 0) & 0xff;
  const at = (address: number): Uint8Array => tables.subarray(address - base, address - base + view.getUint32(address - base + 4, true));
  const signature = (address: number): string => String.fromCharCode(...at(address).subarray(0, 4));
  expect([sum(rsdp), sum(rsdp.subarray(0, 20))]).toEqual([0, 0]);
  const xsdt = Number(new DataView(rsdp.buffer).getBigUint64(24, true));
  expect([signature(xsdt), sum(at(xsdt))]).toEqual(['XSDT', 0]);
  const entries = Array.from({ length: (at(xsdt).length - 36) / 8 }, (_, i) => Number(view.getBigUint64(xsdt - base + 36 + 8 * i, true)));
  expect(entries.map(signature)).toEqual(['FACP', 'APIC', 'HPET']);
  expect(entries.map((entry) => sum(at(entry)))).toEqual([0, 0, 0]);
  const facp = entries[0]! - base;
  expect([signature(view.getUint32(facp + 40, true)), signature(view.getUint32(facp + 36, true))]).toEqual(['DSDT', 'FACS']);
});

/** What every machine says of itself in SMBIOS. */
const machine = {
  below4G: 3 * 2 ** 30,
  above4G: 30 * 2 ** 30,
  sockets: 2,
  coresPerSocket: 4,
  threadsPerSocket: 8,
  cpuVendor: 'GenuineIntel',
  cpuName: 'Haswell',
  cpuSignature: 0x306c4,
  cpuFeatures: 0xfabfbff,
  board: 'pc',
};

it('SMBIOS structures follow each other to the end that the entry point says', () => {
  const { tables, anchor } = buildSmbios(machine);
  const types: number[] = [];
  let at = 0;
  while (at < tables.length) {
    types.push(tables[at]!);
    at += tables[at + 1]!;
    while (tables[at] !== 0 || tables[at + 1] !== 0) at++;
    at += 2;
  }
  expect([at, types]).toEqual([tables.length, [0, 1, 3, 4, 4, 16, 17, 17, 17, 19, 19, 32, 127]]);
  const entry = anchor(0xf5020);
  const view = new DataView(entry.buffer);
  expect([view.getUint16(22, true), view.getUint32(24, true), view.getUint16(28, true)]).toEqual([tables.length, 0xf5020, types.length]);
  expect([entry, entry.subarray(16)].map((bytes) => bytes.reduce((sum, byte) => sum + byte, 0) & 0xff)).toEqual([0, 0]);
});

it('SMBIOS structures say what they are told to, and whole ones take the place of their type', () => {
  const text = (tables: Uint8Array): string => String.fromCharCode(...tables);
  const { tables } = buildSmbios({
    ...machine,
    texts: { 0: { vendor: 'BiosCo' }, 1: { serial: 'S-1', family: 'F' }, 2: { product: 'Board' }, 17: { loc_pfx: 'SLOT' } },
    biosRelease: [3, 4],
    oemStrings: ['one', 'two'],
    structures: [Uint8Array.of(3, 5, 9, 9, 7, 0, 0)],
  });
  const said = text(tables);
  for (const each of ['BiosCo', 'S-1', 'Board', 'SLOT 0', 'one\0two\0']) expect(said).toContain(each);
  const types: number[] = [];
  for (let at = 0; at < tables.length; ) {
    types.push(tables[at]!);
    if (tables[at] === 11) expect([...tables.subarray(at + 1, at + 5)]).toEqual([5, 0, 0x0e, 2]);
    at += tables[at + 1]!;
    while (tables[at] !== 0 || tables[at + 1] !== 0) at++;
    at += 2;
  }
  expect([types.filter((type) => type === 3).length, types.includes(2), types.at(-1)]).toEqual([1, true, 127]);
  expect(text(buildSmbios(machine).tables)).not.toContain('Board');
});
