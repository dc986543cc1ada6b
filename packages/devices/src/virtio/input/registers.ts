/** Values of `select` in the configuration space ("VIRTIO", Input Device: Device configuration layout). */
export const InputSelect = { UNSET: 0, ID_NAME: 1, ID_SERIAL: 2, ID_DEVIDS: 3, PROP_BITS: 0x10, EV_BITS: 0x11, ABS_INFO: 0x12 } as const;
/** Offsets in it: what is asked, and the answer. */
export const InputConfig = { SELECT: 0, SUBSEL: 1, SIZE: 2, DATA: 8, DATA_BYTES: 128, BYTES: 136 } as const;
/** The device's queues: events, and status (lights) from the driver. */
export const InputQueue = { EVENTS: 0, STATUS: 1 } as const;
/** Bytes of an event: type, code, value. */
export const EVENT_BYTES = 8;

/** Event types of Linux ("Input event codes"). */
export const EventType = { SYN: 0, KEY: 1, REL: 2, ABS: 3, LED: 0x11, REP: 0x14 } as const;
/** Axes. */
export const Axis = { X: 0, Y: 1, WHEEL: 8 } as const;
/** Properties of a device: a pointer that moves over the screen, or one that is the place on it. */
export const InputProperty = { POINTER: 0, DIRECT: 1 } as const;
/** Greatest position on an axis of a tablet. */
export const MOST_POSITION = 0x7fff;
/** Bus of identities: virtual. */
export const BUS_VIRTUAL = 6;

/** Buttons of a mouse. */
export const buttons = { left: 0x110, right: 0x111, middle: 0x112, side: 0x113, extra: 0x114 } as const;
/** Name of a button. */
export type ButtonName = keyof typeof buttons;

const run = (first: number, names: string): [string, number][] => names.split(' ').map((name, i) => [name, first + i]);

/** Linux's number of each key under its `KeyboardEvent.code` name. */
export const keyNumbers: ReadonlyMap<string, number> = new Map([
  ...run(1, 'Escape Digit1 Digit2 Digit3 Digit4 Digit5 Digit6 Digit7 Digit8 Digit9 Digit0 Minus Equal Backspace Tab'),
  ...run(16, 'KeyQ KeyW KeyE KeyR KeyT KeyY KeyU KeyI KeyO KeyP BracketLeft BracketRight Enter ControlLeft'),
  ...run(30, 'KeyA KeyS KeyD KeyF KeyG KeyH KeyJ KeyK KeyL Semicolon Quote Backquote ShiftLeft Backslash'),
  ...run(44, 'KeyZ KeyX KeyC KeyV KeyB KeyN KeyM Comma Period Slash ShiftRight NumpadMultiply AltLeft Space CapsLock'),
  ...run(59, 'F1 F2 F3 F4 F5 F6 F7 F8 F9 F10 NumLock ScrollLock'),
  ...run(71, 'Numpad7 Numpad8 Numpad9 NumpadSubtract Numpad4 Numpad5 Numpad6 NumpadAdd Numpad1 Numpad2 Numpad3 Numpad0 NumpadDecimal'),
  ...run(86, 'IntlBackslash F11 F12 IntlRo'),
  ...run(92, 'Convert KanaMode NonConvert'),
  ...run(96, 'NumpadEnter ControlRight NumpadDivide PrintScreen AltRight'),
  ...run(102, 'Home ArrowUp PageUp ArrowLeft ArrowRight End ArrowDown PageDown Insert Delete'),
  ...run(119, 'Pause'),
  ...run(124, 'IntlYen MetaLeft MetaRight ContextMenu'),
]);
