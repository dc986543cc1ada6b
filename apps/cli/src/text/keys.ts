/** Keys by what a US keyboard types with them: without and with Shift. */
const PLAIN: Readonly<Record<string, readonly [plain: string, shifted: string]>> = {
  Backquote: ['`', '~'],
  Minus: ['-', '_'],
  Equal: ['=', '+'],
  BracketLeft: ['[', '{'],
  BracketRight: [']', '}'],
  Backslash: ['\\', '|'],
  Semicolon: [';', ':'],
  Quote: ["'", '"'],
  Comma: [',', '<'],
  Period: ['.', '>'],
  Slash: ['/', '?'],
  Space: [' ', ''],
  ...Object.fromEntries(Array.from('1234567890').map((digit, i) => [`Digit${digit}`, [digit, '!@#$%^&*()'[i]!]])),
  ...Object.fromEntries(Array.from('abcdefghijklmnopqrstuvwxyz').map((letter) => [`Key${letter.toUpperCase()}`, [letter, letter.toUpperCase()]])),
};
/** What terminals send for other keys, and the key. */
const SEQUENCES: Readonly<Record<string, string>> = {
  '\r': 'Enter',
  '\n': 'Enter',
  '\t': 'Tab',
  '\x7f': 'Backspace',
  '\b': 'Backspace',
  '\x1b': 'Escape',
  '\x1b[A': 'ArrowUp',
  '\x1b[B': 'ArrowDown',
  '\x1b[C': 'ArrowRight',
  '\x1b[D': 'ArrowLeft',
  '\x1b[H': 'Home',
  '\x1b[F': 'End',
  '\x1b[2~': 'Insert',
  '\x1b[3~': 'Delete',
  '\x1b[5~': 'PageUp',
  '\x1b[6~': 'PageDown',
  '\x1bOP': 'F1',
  '\x1bOQ': 'F2',
  '\x1bOR': 'F3',
  '\x1bOS': 'F4',
  '\x1b[15~': 'F5',
  '\x1b[17~': 'F6',
  '\x1b[18~': 'F7',
  '\x1b[19~': 'F8',
  '\x1b[20~': 'F9',
  '\x1b[21~': 'F10',
  '\x1b[23~': 'F11',
  '\x1b[24~': 'F12',
};

const CHORDS = new Map<string, readonly string[]>([
  ...Object.entries(SEQUENCES).map(([text, key]): [string, readonly string[]] => [text, [key]]),
  ...Object.entries(PLAIN).flatMap(([key, [plain, shifted]]): [string, readonly string[]][] => [
    [plain, [key]],
    ...(shifted === '' ? [] : ([[shifted, ['ShiftLeft', key]]] as [string, readonly string[]][])),
  ]),
]);
const LONGEST = 5;

/** Which keys to press together, one after the other, for what a terminal has sent. What no key types is left out. */
export function chordsOf(text: string): (readonly string[])[] {
  const chords: (readonly string[])[] = [];
  for (let at = 0; at < text.length; ) {
    let length = Math.min(LONGEST, text.length - at);
    while (length > 1 && !CHORDS.has(text.slice(at, at + length))) length--;
    const part = text.slice(at, at + length);
    const code = part.charCodeAt(0);
    const chord = CHORDS.get(part) ?? (code >= 1 && code <= 26 ? ['ControlLeft', `Key${String.fromCharCode(64 + code)}`] : undefined);
    if (chord) chords.push(chord);
    at += length;
  }
  return chords;
}
