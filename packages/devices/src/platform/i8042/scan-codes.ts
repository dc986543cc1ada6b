/**
 * Scan codes of a PC keyboard: what the 8042's translation does to set 2, and the set-1 code of each key under its `KeyboardEvent.code` name
 * ("IBM PC/AT Technical Reference", "Keyboard"; names by W3C "UI Events KeyboardEvent code Values"). Set 2 is derived through the translation.
 */

/** Set-1 byte for each set-2 byte below 0x84, as the controller translates; a byte without entry stays as it is. */
const TRANSLATION = [
  0xff, 0x43, 0x41, 0x3f, 0x3d, 0x3b, 0x3c, 0x58, 0x64, 0x44, 0x42, 0x40, 0x3e, 0x0f, 0x29, 0x59, 0x65, 0x38, 0x2a, 0x70, 0x1d, 0x10, 0x02, 0x5a,
  0x66, 0x71, 0x2c, 0x1f, 0x1e, 0x11, 0x03, 0x5b, 0x67, 0x2e, 0x2d, 0x20, 0x12, 0x05, 0x04, 0x5c, 0x68, 0x39, 0x2f, 0x21, 0x14, 0x13, 0x06, 0x5d,
  0x69, 0x31, 0x30, 0x23, 0x22, 0x15, 0x07, 0x5e, 0x6a, 0x72, 0x32, 0x24, 0x16, 0x08, 0x09, 0x5f, 0x6b, 0x33, 0x25, 0x17, 0x18, 0x0b, 0x0a, 0x60,
  0x6c, 0x34, 0x35, 0x26, 0x27, 0x19, 0x0c, 0x61, 0x6d, 0x73, 0x28, 0x74, 0x1a, 0x0d, 0x62, 0x6e, 0x3a, 0x36, 0x1c, 0x1b, 0x75, 0x2b, 0x63, 0x76,
  0x55, 0x56, 0x77, 0x78, 0x79, 0x7a, 0x0e, 0x7b, 0x7c, 0x4f, 0x7d, 0x4b, 0x47, 0x7e, 0x7f, 0x6f, 0x52, 0x53, 0x50, 0x4c, 0x4d, 0x48, 0x01, 0x45,
  0x57, 0x4e, 0x51, 0x4a, 0x37, 0x49, 0x46, 0x54, 0x80, 0x81, 0x82, 0x41,
];

/** The controller's translation of one set-2 byte that is not the break prefix. */
export const translateByte = (byte: number): number => (byte === 0x83 ? 0x41 : byte < 0x84 ? (TRANSLATION[byte] ?? byte) : byte);

/** Set-2 make byte by set-1 make byte (the inverse of the translation over make codes). */
const SET2 = new Map<number, number>();
for (let byte = 0x83; byte > 0; byte--) if (byte !== 0x02 && translateByte(byte) < 0x80) SET2.set(translateByte(byte), byte);
SET2.set(0x41, 0x83);
SET2.set(0x54, 0x84);

const keys = (from: number, names: string): [string, number][] => names.split(' ').map((name, index) => [name, from + index]);

/** Set-1 make code by key name; 0xe0xx has the extended prefix. */
const SET1 = new Map<string, number>([
  ...keys(0x01, 'Escape Digit1 Digit2 Digit3 Digit4 Digit5 Digit6 Digit7 Digit8 Digit9 Digit0 Minus Equal Backspace Tab'),
  ...keys(0x10, 'KeyQ KeyW KeyE KeyR KeyT KeyY KeyU KeyI KeyO KeyP BracketLeft BracketRight Enter ControlLeft'),
  ...keys(0x1e, 'KeyA KeyS KeyD KeyF KeyG KeyH KeyJ KeyK KeyL Semicolon Quote Backquote ShiftLeft Backslash'),
  ...keys(0x2c, 'KeyZ KeyX KeyC KeyV KeyB KeyN KeyM Comma Period Slash ShiftRight NumpadMultiply AltLeft Space CapsLock'),
  ...keys(0x3b, 'F1 F2 F3 F4 F5 F6 F7 F8 F9 F10 NumLock ScrollLock'),
  ...keys(0x47, 'Numpad7 Numpad8 Numpad9 NumpadSubtract Numpad4 Numpad5 Numpad6 NumpadAdd Numpad1 Numpad2 Numpad3 Numpad0 NumpadDecimal'),
  ...keys(0x56, 'IntlBackslash F11 F12'),
  ['KanaMode', 0x70],
  ['IntlRo', 0x73],
  ['Convert', 0x79],
  ['NonConvert', 0x7b],
  ['IntlYen', 0x7d],
  ['NumpadEnter', 0xe01c],
  ['ControlRight', 0xe01d],
  ['NumpadDivide', 0xe035],
  ['AltRight', 0xe038],
  ...keys(0xe047, 'Home ArrowUp PageUp'),
  ['ArrowLeft', 0xe04b],
  ['ArrowRight', 0xe04d],
  ...keys(0xe04f, 'End ArrowDown PageDown Insert Delete'),
  ...keys(0xe05b, 'MetaLeft MetaRight ContextMenu'),
]);

/** Names of the keys that `scanCodes` knows. */
export const keyNames: readonly string[] = [...SET1.keys(), 'PrintScreen', 'Pause'];

const SPECIAL: Record<string, Record<1 | 2, { make: number[]; release: number[] }>> = {
  PrintScreen: {
    1: { make: [0xe0, 0x2a, 0xe0, 0x37], release: [0xe0, 0xb7, 0xe0, 0xaa] },
    2: { make: [0xe0, 0x12, 0xe0, 0x7c], release: [0xe0, 0xf0, 0x7c, 0xe0, 0xf0, 0x12] },
  },
  Pause: {
    1: { make: [0xe1, 0x1d, 0x45, 0xe1, 0x9d, 0xc5], release: [] },
    2: { make: [0xe1, 0x14, 0x77, 0xe1, 0xf0, 0x14, 0xf0, 0x77], release: [] },
  },
};

/** Bytes that the keyboard sends for a key in scan-code set 1 or 2, or undefined for an unknown key name. */
export function scanCodes(key: string, set: 1 | 2, released: boolean): readonly number[] | undefined {
  const special = SPECIAL[key];
  if (special) return released ? special[set].release : special[set].make;
  const code = SET1.get(key);
  if (code === undefined) return undefined;
  const prefix = code > 0xff ? [0xe0] : [];
  if (set === 1) return [...prefix, (code & 0x7f) | (released ? 0x80 : 0)];
  return [...prefix, ...(released ? [0xf0] : []), SET2.get(code & 0x7f) as number];
}
