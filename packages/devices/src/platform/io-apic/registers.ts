/** MMIO offsets ("82093AA I/O Advanced Programmable Interrupt Controller"; EOI register as in ICH and version 0x20). */
export const IoApicPort = { BASE: 0xfec0_0000, SIZE: 0x1000, SELECT: 0x00, WINDOW: 0x10, EOI: 0x40 } as const;
/** Indirect registers: two per redirection entry from 0x10 on. */
export const IoApicRegister = { ID: 0x00, VERSION: 0x01, ARBITRATION: 0x02, REDIRECTION: 0x10 } as const;
/** Number of input pins. */
export const PIN_COUNT = 24;
/** Version 0x20, and the number of the last redirection entry. */
export const IO_APIC_VERSION = 0x20 | ((PIN_COUNT - 1) << 16);
/** Low half of a redirection entry. */
export const Redirection = {
  VECTOR: 0xff,
  LOGICAL: 0x800,
  REMOTE_IRR: 0x4000,
  LEVEL: 0x8000,
  MASKED: 0x1_0000,
  WRITABLE: 0x1_afff,
} as const;
