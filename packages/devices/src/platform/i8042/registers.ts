/** Ports of the keyboard controller ("8042" in the IBM PC/AT Technical Reference). */
export const I8042Port = { DATA: 0x60, COMMAND: 0x64 } as const;
/** Status register. */
export const KbcStatus = { OUTPUT_FULL: 0x01, SYSTEM: 0x04, COMMAND: 0x08, UNLOCKED: 0x10, AUX_FULL: 0x20 } as const;
/** Command byte (controller RAM byte 0). */
export const KbcMode = { KEYBOARD_IRQ: 0x01, AUX_IRQ: 0x02, SYSTEM: 0x04, DISABLE_KEYBOARD: 0x10, DISABLE_AUX: 0x20, TRANSLATE: 0x40 } as const;
/** Commands written to port 0x64. */
export const KbcCommand = {
  READ_RAM: 0x20,
  WRITE_RAM: 0x60,
  TEST_PASSWORD: 0xa4,
  DISABLE_AUX: 0xa7,
  ENABLE_AUX: 0xa8,
  TEST_AUX: 0xa9,
  SELF_TEST: 0xaa,
  TEST_KEYBOARD: 0xab,
  DISABLE_KEYBOARD: 0xad,
  ENABLE_KEYBOARD: 0xae,
  READ_INPUT_PORT: 0xc0,
  READ_OUTPUT_PORT: 0xd0,
  WRITE_OUTPUT_PORT: 0xd1,
  WRITE_KEYBOARD_BUFFER: 0xd2,
  WRITE_AUX_BUFFER: 0xd3,
  WRITE_AUX: 0xd4,
  DISABLE_A20: 0xdd,
  ENABLE_A20: 0xdf,
  READ_TEST_INPUTS: 0xe0,
  PULSE: 0xf0,
} as const;
/** Output port: system reset (active low) and A20, then the two interrupt lines. */
export const OutputPort = { NOT_RESET: 0x01, A20: 0x02, KEYBOARD_FULL: 0x10, AUX_FULL: 0x20 } as const;
/** Replies of PS/2 devices. */
export const Ps2Reply = { ACK: 0xfa, RESEND: 0xfe, SELF_TEST_PASSED: 0xaa, ECHO: 0xee } as const;
/** Commands that keyboard and mouse share. */
export const Ps2Command = { IDENTIFY: 0xf2, SET_RATE: 0xf3, ENABLE: 0xf4, DISABLE: 0xf5, SET_DEFAULTS: 0xf6, RESEND: 0xfe, RESET: 0xff } as const;
/** Commands of the keyboard only. */
export const KeyboardCommand = { SET_LEDS: 0xed, ECHO: 0xee, SCAN_CODE_SET: 0xf0 } as const;
/** Commands of the mouse only. */
export const MouseCommand = {
  SCALING_1: 0xe6,
  SCALING_2: 0xe7,
  SET_RESOLUTION: 0xe8,
  STATUS: 0xe9,
  STREAM: 0xea,
  READ_DATA: 0xeb,
  RESET_WRAP: 0xec,
  SET_WRAP: 0xee,
  REMOTE: 0xf0,
} as const;
