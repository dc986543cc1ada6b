/** Input clock of the 8254 on a PC, in Hz. */
export const PIT_HZ = 1_193_182;
/** Ports: three counters and the control word ("8254 Programmable Interval Timer"); port B of the system board. */
export const PitPort = { COUNTERS: 0x40, CONTROL: 3, PORT_B: 0x61 } as const;
/** Bits of port 0x61 ("82371SB PIIX3", NMI status and control). */
export const PortB = { GATE2: 0x01, SPEAKER: 0x02, WRITABLE: 0x0f, REFRESH: 0x10, OUT2: 0x20 } as const;
/** Period of the refresh toggle seen in port 0x61, in ns. */
export const REFRESH_NS = 15_085;
/** Access modes in bits 5:4 of the control word. */
export const Access = { LATCH: 0, LOW: 1, HIGH: 2, BOTH: 3 } as const;
/** Bits of the read-back command; both are active low. */
export const ReadBack = { NO_COUNT: 0x20, NO_STATUS: 0x10 } as const;
/** Bits of the status byte. */
export const Status = { OUT: 0x80, NULL_COUNT: 0x40 } as const;
