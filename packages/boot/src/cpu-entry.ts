import { ByteWriter } from './bytes.js';
import { type BootWrite, type CpuEntry, type EntryRegisters, LowMemory, type SegmentValue } from './plan.js';

const CR0 = { PE: 1, ET: 0x10, NE: 0x20, PG: 0x80000000 };
const CR4_PAE = 0x20;
const EFER_LME_LMA = 0x500;

/** Access rights (VMX format): code or data, flat, accessed, DPL 0. */
const CODE64 = 0xa09b;
const CODE32 = 0xc09b;
const DATA32 = 0xc093;
const UNUSABLE = 0x10000;
const BUSY_TSS32 = 0x8b;
const LDT = 0x82;

const flat = (selector: number, attributes: number): SegmentValue => ({ selector, base: 0, limit: 0xffffffff, attributes });
const task: SegmentValue = { selector: 0x20, base: 0, limit: 0x67, attributes: BUSY_TSS32 };
const noLdt: SegmentValue = { selector: 0, base: 0, limit: 0, attributes: UNUSABLE | LDT };

const segments = (code: number): CpuEntry['segments'] => {
  const data = flat(0x18, DATA32);
  return { es: data, cs: flat(0x10, code), ss: data, ds: data, fs: data, gs: data, ldtr: noLdt, tr: task };
};

/** A GDT in the layout that Linux's boot protocols name: 0x10 code, 0x18 data, 0x20 a task. */
export function gdtWrite(mode: 'protected' | 'long'): BootWrite {
  const table = new ByteWriter(0x28);
  table.u32(0x10, 0x0000ffff);
  table.u32(0x14, mode === 'long' ? 0x00af9b00 : 0x00cf9b00);
  table.u32(0x18, 0x0000ffff);
  table.u32(0x1c, 0x00cf9300);
  table.u32(0x20, 0x00000067);
  table.u32(0x24, 0x00008b00);
  return { name: 'gdt', address: LowMemory.GDT, bytes: table.bytes };
}

/** Page tables that map the first `gibibytes` GiB onto themselves with 2 MiB pages. */
export function identityMap(gibibytes = 4): BootWrite {
  const tables = new ByteWriter((2 + gibibytes) * 4096);
  const base = LowMemory.PAGE_TABLES;
  const present = 3;
  tables.u64(0, base + 0x1000 + present);
  for (let i = 0; i < gibibytes; i++) {
    tables.u64(0x1000 + i * 8, base + 0x2000 + i * 0x1000 + present);
    for (let j = 0; j < 512; j++) tables.u64(0x2000 + i * 0x1000 + j * 8, i * 2 ** 30 + j * 2 ** 21 + 0x80 + present);
  }
  return { name: 'page tables', address: base, bytes: tables.bytes };
}

/** 64-bit mode with the identity map, interrupts off. */
export function longEntry(rip: number, registers: EntryRegisters): CpuEntry {
  return {
    mode: 'long',
    rip,
    registers,
    segments: segments(CODE64),
    cr0: (CR0.PE | CR0.ET | CR0.NE | CR0.PG) >>> 0,
    cr3: LowMemory.PAGE_TABLES,
    cr4: CR4_PAE,
    efer: EFER_LME_LMA,
    gdt: { base: LowMemory.GDT, limit: 0x27 },
    idt: { base: 0, limit: 0 },
  };
}

/** Flat 32-bit protected mode without paging, interrupts off. */
export function protectedEntry(rip: number, registers: EntryRegisters): CpuEntry {
  return {
    mode: 'protected',
    rip,
    registers,
    segments: segments(CODE32),
    cr0: CR0.PE | CR0.ET,
    cr3: 0,
    cr4: 0,
    efer: 0,
    gdt: { base: LowMemory.GDT, limit: 0x27 },
    idt: { base: 0, limit: 0 },
  };
}

/** Real mode at `segment`:`offset`. */
export function realEntry(segment: number, offset: number, registers: EntryRegisters = {}): CpuEntry {
  const real = (selector: number, attributes: number): SegmentValue => ({ selector, base: selector * 16, limit: 0xffff, attributes });
  const data = real(0, 0x93);
  return {
    mode: 'real',
    rip: offset,
    registers,
    segments: {
      es: data,
      cs: real(segment, 0x9b),
      ss: data,
      ds: data,
      fs: data,
      gs: data,
      ldtr: { ...noLdt, limit: 0xffff },
      tr: { selector: 0, base: 0, limit: 0xffff, attributes: BUSY_TSS32 },
    },
    cr0: CR0.ET,
    cr3: 0,
    cr4: 0,
    efer: 0,
    gdt: { base: 0, limit: 0xffff },
    idt: { base: 0, limit: 0x3ff },
  };
}

/** The words of the BIOS data area that kernels read: serial port addresses, EBDA segment, size of conventional memory. */
export function biosDataArea(): BootWrite {
  const area = new ByteWriter(0x100);
  area.u16(0x00, 0x3f8);
  area.u16(0x0e, LowMemory.END >> 4);
  area.u16(0x10, 0x0200);
  area.u16(0x13, LowMemory.END >> 10);
  return { name: 'BIOS data area', address: LowMemory.BIOS_DATA, bytes: area.bytes };
}
