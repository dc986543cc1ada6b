/** 8259A command and mask bits, by the data sheet's names ("8259A Programmable Interrupt Controller"). */
export const Icw1 = { NEEDS_ICW4: 0x01, SINGLE: 0x02, LEVEL: 0x08, IS_ICW1: 0x10 } as const;
/** ICW4: automatic EOI and the special fully nested mode. */
export const Icw4 = { AUTO_EOI: 0x02, SPECIAL_FULLY_NESTED: 0x10 } as const;
/** OCW3: which register the next read shows, poll, special mask. */
export const Ocw3 = { READ_ISR: 0x01, READ_REGISTER: 0x02, POLL: 0x04, IS_OCW3: 0x08, SPECIAL_MASK: 0x20, SET_SPECIAL_MASK: 0x40 } as const;
/** OCW2 commands, in bits 7:5. */
export const Ocw2 = {
  CLEAR_ROTATE_IN_AUTO_EOI: 0,
  EOI: 1,
  SPECIFIC_EOI: 3,
  SET_ROTATE_IN_AUTO_EOI: 4,
  ROTATE_ON_EOI: 5,
  SET_PRIORITY: 6,
  ROTATE_ON_SPECIFIC_EOI: 7,
} as const;
/** What the next write to the data port is. */
export const InitStep = { NONE: 0, ICW2: 1, ICW3: 2, ICW4: 3 } as const;
/** Ports of the pair on a PC, and of the edge/level control registers. */
export const PicPort = { MASTER: 0x20, SLAVE: 0xa0, ELCR: 0x4d0 } as const;
/** The master's input that the slave drives. */
export const CASCADE_INPUT = 2;
/** Inputs that ELCR can make level-triggered: not the timer, keyboard, cascade (master), RTC and FPU (slave). */
export const ELCR_MASK = { MASTER: 0xf8, SLAVE: 0xde } as const;
