/** Ports of the RTC and CMOS RAM ("MC146818A" data sheet). */
export const RtcPort = { INDEX: 0x70, DATA: 0x71 } as const;
/** Indices of the clock registers, and of the century byte that ACPI's FADT names. */
export const RtcIndex = {
  SECONDS: 0,
  SECONDS_ALARM: 1,
  MINUTES: 2,
  MINUTES_ALARM: 3,
  HOURS: 4,
  HOURS_ALARM: 5,
  WEEKDAY: 6,
  DAY: 7,
  MONTH: 8,
  YEAR: 9,
  A: 10,
  B: 11,
  C: 12,
  D: 13,
  CENTURY: 0x32,
} as const;
/** Register A: update in progress, divider chain, rate selection. */
export const RegA = { UIP: 0x80, DIVIDER: 0x70, RATE: 0x0f, DIVIDER_32KHZ: 0x20, DIVIDER_RESET: 0x60 } as const;
/** Register B: set mode, the three interrupt enables, binary, 24 hours. */
export const RegB = { SET: 0x80, PIE: 0x40, AIE: 0x20, UIE: 0x10, BINARY: 0x04, HOURS_24: 0x02 } as const;
/** Register C: the interrupt request flag and its three causes, at the places of register B's enables. */
export const RegC = { IRQF: 0x80, PF: 0x40, AF: 0x20, UF: 0x10, CAUSES: 0x70 } as const;
/** Register D: RAM and time valid. */
export const REG_D_VALID = 0x80;
/** How long before an update UIP is set, in ns. */
export const UIP_NS = 244_140;
/** An alarm byte from here on matches anything. */
export const ALARM_ANY = 0xc0;
