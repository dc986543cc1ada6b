import { describe, expect, it } from 'vitest';
import { type AcpiConfig, buildAcpi } from '../src/index.js';

const config: AcpiConfig = {
  chipset: 'q35',
  apicIds: [0, 1],
  ioApic: { address: 0xfec00000, id: 0 },
  hpet: { address: 0xfed00000 },
  ecam: { address: 0xb0000000, buses: 256 },
  pm: {
    base: 0x600,
    gpeBase: 0x620,
    gpeBytes: 16,
    smiCommandPort: 0xb2,
    acpiEnable: 2,
    acpiDisable: 3,
    timer32: false,
    sciInterrupt: 9,
    sleepTypes: { s5: 0 },
  },
  legacy: { serial: [{ base: 0x3f8, irq: 4 }], rtc: true, keyboard: true, pit: true },
  pciHole: { base: 0xc0000000, end: 0xfec00000 },
};

const sum = (bytes: Uint8Array): number => bytes.reduce((total, byte) => (total + byte) & 0xff, 0);
const memoryOf = (tables: ReturnType<typeof buildAcpi>): Uint8Array => {
  const memory = new Uint8Array(0x100000);
  for (const { address, bytes } of tables.writes) memory.set(bytes, address);
  return memory;
};

/** Steps over AML terms as far as block structure goes; throws where lengths do not fit into each other. */
function walkAml(bytes: Uint8Array, from: number, to: number, names: string[]): void {
  let at = from;
  const segment = (): string => {
    const text = String.fromCharCode(...bytes.subarray(at, at + 4));
    if (!/^[A-Z_][A-Z0-9_]{3}$/.test(text)) throw new Error(`no name at ${at}: ${text}`);
    at += 4;
    return text;
  };
  const path = (): string => {
    let out = '';
    while (bytes[at] === 0x5c || bytes[at] === 0x5e) out += String.fromCharCode(bytes[at++]!);
    if (bytes[at] === 0) {
      at++;
      return out;
    }
    if (bytes[at] === 0x2e) {
      at++;
      return `${out}${segment()}.${segment()}`;
    }
    if (bytes[at] === 0x2f) {
      const count = bytes[at + 1]!;
      at += 2;
      return out + Array.from({ length: count }, segment).join('.');
    }
    return out + segment();
  };
  const length = (): number => {
    const start = at;
    const lead = bytes[at++]!;
    const extra = lead >> 6;
    let value = extra === 0 ? lead & 0x3f : lead & 15;
    for (let i = 0; i < extra; i++) value += bytes[at++]! * 2 ** (4 + 8 * i);
    if (start + value > to) throw new Error(`block at ${start} of ${value} bytes leaves its parent, which ends at ${to}`);
    return start + value;
  };
  while (at < to) {
    const opcode = bytes[at]!;
    const extended = opcode === 0x5b ? bytes[at + 1]! : -1;
    if (opcode === 0x10 || extended === 0x82) {
      at += opcode === 0x10 ? 1 : 2;
      const end = length();
      names.push(path());
      walkAml(bytes, at, end, names);
      at = end;
    } else if (opcode === 0x14 || extended === 0x81) {
      at += opcode === 0x14 ? 1 : 2;
      const end = length();
      names.push(path());
      at = end;
    } else if (opcode === 0x08) {
      at++;
      names.push(path());
      const value = bytes[at]!;
      if (value <= 1) at++;
      else if (value === 0x0a) at += 2;
      else if (value === 0x0b) at += 3;
      else if (value === 0x0c) at += 5;
      else if (value === 0x0d) at = bytes.indexOf(0, at) + 1;
      else if (value === 0x11 || value === 0x12) {
        at++;
        at = length();
      } else throw new Error(`value ${value} at ${at}`);
    } else if (extended === 0x80) {
      at += 2;
      names.push(path());
      at += 1;
      for (let i = 0; i < 2; i++) at += bytes[at]! <= 1 ? 1 : bytes[at] === 0x0a ? 2 : 3;
    } else throw new Error(`term ${opcode.toString(16)} at ${at}`);
  }
}

describe('ACPI tables', () => {
  it('are found from the RSDP, each with a right checksum', () => {
    const tables = buildAcpi(config);
    const memory = memoryOf(tables);
    const view = new DataView(memory.buffer);
    const rsdp = memory.subarray(tables.rsdp, tables.rsdp + 36);
    expect(String.fromCharCode(...rsdp.subarray(0, 8))).toBe('RSD PTR ');
    expect([sum(rsdp.subarray(0, 20)), sum(rsdp)]).toEqual([0, 0]);
    expect(tables.rsdp % 16).toBe(0);
    const signatures = (table: number, width: 4 | 8): string[] => {
      const count = (view.getUint32(table + 4, true) - 36) / width;
      return Array.from({ length: count }, (_, i) => {
        const address = view.getUint32(table + 36 + i * width, true);
        const bytes = memory.subarray(address, address + view.getUint32(address + 4, true));
        expect(sum(bytes)).toBe(0);
        return String.fromCharCode(...bytes.subarray(0, 4));
      });
    };
    const rsdt = view.getUint32(tables.rsdp + 16, true);
    const xsdt = view.getUint32(tables.rsdp + 24, true);
    expect(signatures(rsdt, 4)).toEqual(['FACP', 'APIC', 'HPET', 'MCFG']);
    expect(signatures(xsdt, 8)).toEqual(['FACP', 'APIC', 'HPET', 'MCFG']);
    const fadt = view.getUint32(rsdt + 36, true);
    const dsdt = view.getUint32(fadt + 40, true);
    expect(view.getUint32(fadt + 140, true)).toBe(dsdt);
    expect(sum(memory.subarray(dsdt, dsdt + view.getUint32(dsdt + 4, true)))).toBe(0);
    expect([view.getUint32(fadt + 56, true), view.getUint16(fadt + 46, true), memory[fadt + 52], view.getUint32(fadt + 120, true)]).toEqual([
      0x600, 9, 2, 0xcf9,
    ]);
    expect(view.getUint32(fadt + 36, true) % 64).toBe(0);
  });

  it.each(['q35', 'i440fx', 'none'] as const)('has a DSDT for %s whose blocks nest', (chipset) => {
    const { writes } = buildAcpi({ ...config, chipset });
    const dsdt = writes.find((write) => write.name === 'ACPI DSDT')!.bytes;
    const names: string[] = [];
    walkAml(dsdt, 36, dsdt.length, names);
    expect(names).toContain('\\_S5_');
    expect(names).toContain('COM1');
    expect(names.includes('PCI0')).toBe(chipset !== 'none');
    expect(names.filter((name) => name.startsWith('LNK')).length).toBe(chipset === 'q35' ? 8 : chipset === 'none' ? 0 : 4);
  });

  it('name the firmware configuration device where the system is to find it', () => {
    const text = (given: AcpiConfig): string => String.fromCharCode(...buildAcpi(given).writes.flatMap(({ bytes }) => [...bytes]));
    expect(text(config)).not.toContain('QEMU0002');
    expect(text({ ...config, legacy: { ...config.legacy, firmwareConfig: 0x510 } })).toContain('QEMU0002');
  });

  it('lists every CPU and the interrupt overrides in the MADT', () => {
    const { writes } = buildAcpi({ ...config, chipset: 'i440fx', apicIds: [0, 1, 300] });
    const madt = writes.find((write) => write.name === 'ACPI MADT')!.bytes;
    const entries: number[][] = [];
    for (let at = 44; at < madt.length; at += madt[at + 1]!) entries.push([...madt.subarray(at, at + madt[at + 1]!)]);
    expect(entries.filter(([type]) => type === 0).map((entry) => entry[3])).toEqual([0, 1]);
    expect(entries.filter(([type]) => type === 9).map((entry) => entry[4]! + entry[5]! * 256)).toEqual([300]);
    expect(entries.filter(([type]) => type === 2).map((entry) => [entry[3], entry[4], entry[8]])).toEqual([
      [0, 2, 0],
      [5, 5, 13],
      [9, 9, 13],
      [10, 10, 13],
      [11, 11, 13],
    ]);
  });

  it('refuses more CPUs than the firmware area holds', () => {
    expect(() => buildAcpi({ ...config, apicIds: Array.from({ length: 4000 }, (_, i) => i) })).toThrow(/fewer CPUs/);
  });
});
