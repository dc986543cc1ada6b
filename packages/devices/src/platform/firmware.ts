import type { Width } from '@nestvm/bus';

/** The ports of a board, for writing only. */
export interface PortWriter {
  write(port: number, width: Width, value: number): void;
}

/** Interrupt bases that a PC's firmware gives the two 8259As. */
const PIC_BASES = [0x08, 0x70] as const;

/**
 * Leaves PIC and PIT as a PC's firmware does, for kernels that are started without one: vectors 0x08 and 0x70, everything but the cascade masked, interrupts
 * 10 and 11 level-triggered (`pci`: where PIRQs go on a `pc` board), counter 0 at 18.2 Hz. Call after every reset.
 */
export function initializeLikeFirmware(ports: PortWriter, options: { readonly pci?: boolean; readonly pit?: boolean } = {}): void {
  [0x20, 0xa0].forEach((port, index) => {
    ports.write(port, 1, 0x11);
    ports.write(port + 1, 1, PIC_BASES[index]);
    ports.write(port + 1, 1, index === 0 ? 0x04 : 0x02);
    ports.write(port + 1, 1, 0x01);
    ports.write(port + 1, 1, index === 0 ? 0xfb : 0xff);
  });
  if (options.pci) ports.write(0x4d1, 1, 0x0c);
  if (options.pit === false) return;
  ports.write(0x43, 1, 0x34);
  ports.write(0x40, 1, 0);
  ports.write(0x40, 1, 0);
}
