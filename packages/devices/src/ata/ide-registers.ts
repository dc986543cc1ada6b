/** Where a channel is: command block, control block, interrupt. */
export interface IdePorts {
  readonly command: number;
  readonly control: number;
  readonly line: string;
}
/** The two channels of a PC. */
export const IDE_PORTS: readonly IdePorts[] = [
  { command: 0x1f0, control: 0x3f6, line: 'isa:14' },
  { command: 0x170, control: 0x376, line: 'isa:15' },
];
/** The command block by offset; the first is the data port. */
export const IdeRegister = { DATA: 0, FEATURES: 1, COUNT: 2, LBA_LOW: 3, LBA_MID: 4, LBA_HIGH: 5, DEVICE: 6, COMMAND: 7 } as const;
/** Bits of the device control register. HIGH_ORDER shows the bytes that were written before the last ones. */
export const IdeControl = { NO_INTERRUPT: 0x02, RESET: 0x04, HIGH_ORDER: 0x80 } as const;
/** Registers of bus-master DMA. */
export const Master = { COMMAND: 0, STATUS: 2, TABLE: 4 } as const;
export const MasterCommand = { START: 0x01, TO_MEMORY: 0x08 } as const;
export const MasterStatus = { ACTIVE: 0x01, ERROR: 0x02, INTERRUPT: 0x04, CAPABLE: 0x60 } as const;
/** An entry of the table of memory regions: address, count (0: 64 KiB), and in the last the end bit. */
export const REGION_BYTES = 8;
export const REGION_END = 0x8000_0000;
