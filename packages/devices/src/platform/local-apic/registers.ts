/** Register numbers: MMIO offset / 16, and x2APIC MSR − 0x800 ("Intel SDM Vol. 3, Advanced Programmable Interrupt Controller"). */
export const ApicRegister = {
  ID: 0x02,
  VERSION: 0x03,
  TPR: 0x08,
  APR: 0x09,
  PPR: 0x0a,
  EOI: 0x0b,
  RRD: 0x0c,
  LDR: 0x0d,
  DFR: 0x0e,
  SVR: 0x0f,
  ISR: 0x10,
  TMR: 0x18,
  IRR: 0x20,
  ESR: 0x28,
  ICR_LOW: 0x30,
  ICR_HIGH: 0x31,
  LVT_TIMER: 0x32,
  LVT_THERMAL: 0x33,
  LVT_PERFORMANCE: 0x34,
  LVT_LINT0: 0x35,
  LVT_LINT1: 0x36,
  LVT_ERROR: 0x37,
  INITIAL_COUNT: 0x38,
  CURRENT_COUNT: 0x39,
  DIVIDE: 0x3e,
  SELF_IPI: 0x3f,
} as const;
/** Number of LVT entries, and the version register: an integrated APIC whose last LVT entry is number 5. */
export const LVT_COUNT = 6;
/** Value of the version register. */
export const APIC_VERSION = 0x14 | ((LVT_COUNT - 1) << 16);
/** Delivery modes in bits 10:8 of LVT entries, ICR, redirection entries and MSI data. */
export const DeliveryMode = { FIXED: 0, LOWEST_PRIORITY: 1, SMI: 2, NMI: 4, INIT: 5, STARTUP: 6, EXTINT: 7 } as const;
/** Bits of an LVT entry. */
export const Lvt = { VECTOR: 0xff, LEVEL: 0x8000, MASKED: 0x1_0000, TIMER_MODE: 0x6_0000 } as const;
/** Values of the timer mode field, in place. */
export const TimerMode = { ONE_SHOT: 0, PERIODIC: 0x2_0000, TSC_DEADLINE: 0x4_0000 } as const;
/** Writable bits of each LVT entry, from the timer on. */
export const LVT_WRITABLE = [0x7_00ff, 0x1_07ff, 0x1_07ff, 0x1_a7ff, 0x1_a7ff, 0x1_00ff] as const;
/** Spurious-interrupt vector register. */
export const Svr = { VECTOR: 0xff, ENABLE: 0x100, WRITABLE: 0x1ff } as const;
/** Interrupt command register. */
export const Icr = { LOGICAL: 0x800, ASSERT: 0x4000, LEVEL: 0x8000, SHORTHAND: 0xc_0000, WRITABLE: 0xc_cfff } as const;
/** Destination shorthands, shifted down. */
export const Shorthand = { NONE: 0, SELF: 1, ALL: 2, OTHERS: 3 } as const;
/** Bits of the error status register that are ever set. */
export const ApicError = { SEND_ILLEGAL_VECTOR: 0x20, RECEIVE_ILLEGAL_VECTOR: 0x40, ILLEGAL_REGISTER: 0x80 } as const;
/** Bits of IA32_APIC_BASE. */
export const ApicBase = { BSP: 0x100, X2APIC: 0x400, ENABLE: 0x800, RESERVED: 0x2ff, DEFAULT: 0xfee0_0000 } as const;
/** MSR numbers. */
export const ApicMsr = { BASE: 0x1b, TSC_DEADLINE: 0x6e0, X2APIC: 0x800, X2APIC_LAST: 0x8ff } as const;
/** Size of the window in which a memory write is a message-signalled interrupt. */
export const MSI_WINDOW_BYTES = 0x10_0000;
