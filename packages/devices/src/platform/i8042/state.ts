import { flag, integer, list, record, type Saved, unsigned } from '../../saved-state.js';

const keyboard = record({
  queue: list(unsigned(8), { max: 512 }),
  set: integer(1, 2),
  scanning: flag,
  leds: unsigned(3),
  expecting: unsigned(8),
  lastSent: unsigned(8),
});
/** Saved state of the keyboard. Keys held down are not part of it: their host lets go of them. */
export type SavedKeyboard = Saved<typeof keyboard>;

const mouse = record({
  queue: list(unsigned(8), { max: 512 }),
  id: integer(0, 4),
  enabled: flag,
  remote: flag,
  wrap: flag,
  scaling2: flag,
  resolution: unsigned(8),
  rate: unsigned(8),
  rates: list(unsigned(8), { max: 3 }),
  expecting: unsigned(8),
  buttons: unsigned(5),
  moved: list(integer(-100_000, 100_000), { length: 3 }),
});
/** Saved state of the mouse. */
export type SavedMouse = Saved<typeof mouse>;

/** Saved state of the controller with its keyboard and mouse. */
export const i8042Schema = record({
  mode: unsigned(8),
  ram: list(unsigned(8), { length: 32 }),
  system: flag,
  lastWasCommand: flag,
  command: unsigned(8),
  full: flag,
  aux: flag,
  data: unsigned(8),
  a20: flag,
  breakSeen: flag,
  replies: list(unsigned(8), { max: 64 }),
  keyboard,
  mouse,
});
/** Saved state of the controller with its keyboard and mouse. */
export type SavedI8042 = Saved<typeof i8042Schema>;
