/** Input clock of the UART in Hz; a bit lasts 16 × divisor of its periods ("PC16550D" data sheet). */
export const UART_HZ = 1_843_200;
/** Register offsets; 0 and 1 are the divisor latch while LCR.DLAB is set. */
export const UartRegister = { DATA: 0, IER: 1, IIR_FCR: 2, LCR: 3, MCR: 4, LSR: 5, MSR: 6, SCRATCH: 7 } as const;
/** Interrupt enables. */
export const Ier = { RECEIVED: 0x01, THR_EMPTY: 0x02, LINE: 0x04, MODEM: 0x08, ALL: 0x0f } as const;
/** Interrupt identification, most urgent first: line status, received data, timeout, THR empty, modem status. */
export const Iir = { NONE: 0x01, MODEM: 0x00, THR_EMPTY: 0x02, RECEIVED: 0x04, LINE: 0x06, TIMEOUT: 0x0c, FIFOS: 0xc0 } as const;
/** FIFO control. */
export const Fcr = { ENABLE: 0x01, CLEAR_RECEIVER: 0x02, CLEAR_TRANSMITTER: 0x04, TRIGGER: 0xc0, KEPT: 0xc9 } as const;
/** Line control: word length, stop bits, parity, break, divisor latch access. */
export const Lcr = { WORD: 0x03, STOP: 0x04, PARITY: 0x08, BREAK: 0x40, DLAB: 0x80 } as const;
/** Modem control. */
export const Mcr = { DTR: 0x01, RTS: 0x02, OUT1: 0x04, OUT2: 0x08, LOOP: 0x10, ALL: 0x1f } as const;
/** Line status. */
export const Lsr = { READY: 0x01, OVERRUN: 0x02, PARITY: 0x04, FRAMING: 0x08, BREAK: 0x10, THR_EMPTY: 0x20, EMPTY: 0x40, ERRORS: 0x1e } as const;
/** Modem status: changes in bits 3:0, levels in bits 7:4. */
export const Msr = { DCTS: 0x01, DDSR: 0x02, TERI: 0x04, DDCD: 0x08, CTS: 0x10, DSR: 0x20, RI: 0x40, DCD: 0x80, DELTAS: 0x0f } as const;
/** Bytes in the receiver FIFO at which its interrupt comes, by FCR bits 7:6. */
export const TRIGGER_LEVELS = [1, 4, 8, 14] as const;
/** Depth of each FIFO in bytes. */
export const FIFO_BYTES = 16;
/** Base port and ISA interrupt of COM1 to COM4. */
export const COM_PORTS = [
  { base: 0x3f8, irq: 4 },
  { base: 0x2f8, irq: 3 },
  { base: 0x3e8, irq: 4 },
  { base: 0x2e8, irq: 3 },
] as const;
