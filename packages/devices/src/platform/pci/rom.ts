import type { Width } from '@nestvm/bus';
import { type BarOptions, PciBar } from './bar.js';

const SMALLEST = 0x800;
/** The bit of the register that lets the ROM be seen. */
const ENABLE = 1;

/** An expansion ROM and its base address register ("PCI Local Bus Specification 3.0", Expansion ROM Base Address Register). */
export class PciRom {
  readonly bar: PciBar;
  /** Address bits of the register that can be written. */
  readonly mask: number;

  constructor(name: string, bytes: Uint8Array) {
    const size = 2 ** Math.ceil(Math.log2(Math.max(SMALLEST, bytes.length)));
    const read = (offset: number, width: Width): number => {
      let value = 0;
      for (let i = 0; i < width; i++) value |= (bytes[offset + i] ?? 0xff) << (8 * i);
      return value >>> 0;
    };
    const options: BarOptions = { index: -1, kind: 'memory', size, read, write: () => {} };
    this.bar = new PciBar(`${name} rom`, options);
    this.mask = (~(size - 1) | ENABLE) >>> 0;
  }

  /** Where the register says that the ROM is, or -1. */
  base(register: number): number {
    return register & ENABLE ? register - (register % this.bar.options.size) : -1;
  }
}
