import type { AcpiPm } from '../acpi-pm/device.js';
import type { PciFunction } from './function.js';

/** What a host bridge decides about memory below 1 MiB, told whenever it may have changed. */
export interface MemoryController {
  /** Whether reads and writes of `[base, base + size)` go to RAM; else they go to the bus, where the firmware's ROM is. */
  shadow(base: number, size: number, read: boolean, write: boolean): void;
  /** SMRAM at 0xa0000: for CPUs in system-management mode, and with `open` for all. */
  smram(enabled: boolean, open: boolean): void;
}

/** What the chips of a board work on. */
export interface ChipsetOptions {
  readonly pm?: AcpiPm;
  readonly memory?: MemoryController;
  /** Registers start as after power-on, for firmware to set up (default: as firmware leaves them, for kernels that are started without one). */
  readonly bare?: boolean;
}

/** What the registers belong to, and where they are. */
export interface LowMemoryOptions {
  readonly bridge: PciFunction;
  readonly memory?: MemoryController;
  /** Offsets of the first PAM register and of the SMRAM register. */
  readonly pam: number;
  readonly smram: number;
  /** Starts readable and writable throughout, as firmware leaves it that has copied itself; else as after power-on. */
  readonly open: boolean;
}

/** Bits of a PAM register's half. */
const Pam = { READ: 1, WRITE: 2 } as const;
const PAM_REGISTERS = 7;
/** Bits of the SMRAM register; the low three say that SMRAM is at 0xa0000. */
const Smram = { ENABLE: 0x08, LOCK: 0x10, CLOSED: 0x20, OPEN: 0x40, BASE: 0x02 } as const;

/** The segments by register and half: PAM0's high half is the BIOS itself, then come 16 KiB each from 0xc0000 on ("82441FX PMC", "Programmable Attribute Map"). */
const SEGMENTS = [
  { register: 0, shift: 4, base: 0xf0000, size: 0x10000 },
  ...Array.from({ length: 12 }, (_, i) => ({ register: 1 + (i >> 1), shift: 4 * (i & 1), base: 0xc0000 + i * 0x4000, size: 0x4000 })),
];

/** The registers of a host bridge that shadow ROM by RAM and show SMRAM. */
export class LowMemoryRegisters {
  readonly #options: LowMemoryOptions;

  constructor(options: LowMemoryOptions) {
    this.#options = options;
    const { bridge, pam, smram, open } = options;
    for (let i = 0; i < PAM_REGISTERS; i++) bridge.allow(pam + i, 1, 0x33);
    bridge.config.fill(open ? 0x33 : 0, pam, pam + PAM_REGISTERS);
    bridge.config[pam] &= 0x30;
    bridge.writable[pam] = 0x30;
    bridge.config[smram] = Smram.BASE;
    bridge.writable[smram] = 0x78;
  }

  /** Does what the registers say. */
  apply(): void {
    const { bridge, memory, pam, smram } = this.#options;
    const control = bridge.config[smram];
    // Locked: closed, and as it is until the next reset.
    if (control & Smram.LOCK) bridge.config[smram] = control & ~Smram.OPEN;
    bridge.writable[smram] = control & Smram.LOCK ? Smram.CLOSED : 0x78;
    for (const { register, shift, base, size } of SEGMENTS) {
      const bits = bridge.config[pam + register] >> shift;
      memory?.shadow(base, size, (bits & Pam.READ) !== 0, (bits & Pam.WRITE) !== 0);
    }
    memory?.smram((control & Smram.ENABLE) !== 0, (bridge.config[smram] & Smram.OPEN) !== 0);
  }
}
