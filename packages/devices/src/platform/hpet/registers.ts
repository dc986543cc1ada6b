/** MMIO offsets ("IA-PC HPET Specification"). */
export const HpetRegister = { CAPABILITIES: 0x000, CONFIGURATION: 0x010, STATUS: 0x020, COUNTER: 0x0f0, TIMERS: 0x100, TIMER_BYTES: 0x20 } as const;
/** Base and size of the register block. */
export const HpetPort = { BASE: 0xfed0_0000, SIZE: 0x400 } as const;
/** Period of the main counter: 10 ns, told in femtoseconds. */
export const HPET_PERIOD_NS = 10;
/** Number of comparators. */
export const HPET_TIMERS = 3;
/** Low half of the capabilities: vendor 0x8086, legacy replacement, 64-bit counter, number of the last timer, revision 1. */
export const HPET_CAPABILITIES_LOW = (0x8086 << 16) | 0x8000 | 0x2000 | ((HPET_TIMERS - 1) << 8) | 1;
/** High half: the period in femtoseconds. */
export const HPET_CAPABILITIES_HIGH = HPET_PERIOD_NS * 1_000_000;
/** General configuration. */
export const HpetConfig = { ENABLE: 1, LEGACY: 2 } as const;
/** Timer configuration: type, enables, modes; route in bits 13:9. Capabilities are read-only. */
export const TimerConfig = {
  LEVEL: 0x0002,
  ENABLE: 0x0004,
  PERIODIC: 0x0008,
  CAN_BE_PERIODIC: 0x0010,
  CAN_BE_64: 0x0020,
  SET_VALUE: 0x0040,
  FORCE_32: 0x0100,
  ROUTE: 0x3e00,
  WRITABLE: 0x3f4e,
} as const;
