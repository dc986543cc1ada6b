import { UsageError } from '../errors.js';

/** Keys under QEMU's names where they are not letters, digits or function keys, and their names in `KeyboardEvent.code`. */
const KEYS: Readonly<Record<string, string>> = {
  shift: 'ShiftLeft',
  shift_r: 'ShiftRight',
  alt: 'AltLeft',
  alt_r: 'AltRight',
  ctrl: 'ControlLeft',
  ctrl_r: 'ControlRight',
  meta_l: 'MetaLeft',
  meta_r: 'MetaRight',
  menu: 'ContextMenu',
  compose: 'ContextMenu',
  esc: 'Escape',
  minus: 'Minus',
  equal: 'Equal',
  backspace: 'Backspace',
  tab: 'Tab',
  ret: 'Enter',
  spc: 'Space',
  bracket_left: 'BracketLeft',
  bracket_right: 'BracketRight',
  semicolon: 'Semicolon',
  apostrophe: 'Quote',
  grave_accent: 'Backquote',
  backslash: 'Backslash',
  comma: 'Comma',
  dot: 'Period',
  slash: 'Slash',
  less: 'IntlBackslash',
  caps_lock: 'CapsLock',
  num_lock: 'NumLock',
  scroll_lock: 'ScrollLock',
  asterisk: 'NumpadMultiply',
  kp_multiply: 'NumpadMultiply',
  kp_divide: 'NumpadDivide',
  kp_add: 'NumpadAdd',
  kp_subtract: 'NumpadSubtract',
  kp_enter: 'NumpadEnter',
  kp_decimal: 'NumpadDecimal',
  print: 'PrintScreen',
  sysrq: 'PrintScreen',
  pause: 'Pause',
  home: 'Home',
  end: 'End',
  pgup: 'PageUp',
  pgdn: 'PageDown',
  left: 'ArrowLeft',
  right: 'ArrowRight',
  up: 'ArrowUp',
  down: 'ArrowDown',
  insert: 'Insert',
  delete: 'Delete',
};

/** `KeyboardEvent.code` of a key under QEMU's name (`a`, `ret`, `ctrl`, `f1`, `kp_7`); throws `UsageError`. */
export function keyCode(name: string): string {
  if (/^[a-z]$/.test(name)) return `Key${name.toUpperCase()}`;
  if (/^\d$/.test(name)) return `Digit${name}`;
  if (/^f([1-9]|1[0-2])$/.test(name)) return name.toUpperCase();
  const pad = /^kp_(\d)$/.exec(name);
  if (pad) return `Numpad${pad[1]}`;
  if (Object.hasOwn(KEYS, name)) return KEYS[name]!;
  throw new UsageError(`'${name}' is no key; there are a … z, 0 … 9, f1 … f12, kp_0 … kp_9, ${Object.keys(KEYS).join(', ')}`);
}
