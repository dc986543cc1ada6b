import { expect, it } from 'vitest';
import { CODE_PAGE_437 } from './code-page.js';
import { chordsOf } from './keys.js';
import { drawScreen } from './screen.js';

const screen = (text: string, cursor: number, look = 7) => ({
  columns: 4,
  rows: 2,
  cells: Uint8Array.from(Array.from(text.padEnd(8)).flatMap((letter) => [letter.charCodeAt(0), look])),
  cursor,
});

it('code page 437 has 256 characters, of which ASCII is itself', () => {
  expect(CODE_PAGE_437).toHaveLength(256);
  expect([CODE_PAGE_437[65], CODE_PAGE_437[0xc4], CODE_PAGE_437[0xdb], CODE_PAGE_437[1], CODE_PAGE_437[0xe1]]).toEqual(['A', '─', '█', '☺', 'ß']);
});

it('draws only what differs, and puts the cursor', () => {
  const first = drawScreen(undefined, screen('ab', 2));
  expect(first.startsWith('\x1b[0m\x1b[2J\x1b[1;1H\x1b[0;37;40mab')).toBe(true);
  expect(first.endsWith('\x1b[?25h\x1b[1;3H')).toBe(true);
  expect(drawScreen(screen('ab', 2), screen('ab', 2))).toBe('');
  expect(drawScreen(screen('ab', 2), screen('aX', -1, 7))).toBe('\x1b[1;2H\x1b[0;37;40mX\x1b[?25l');
  expect(drawScreen(screen('', 0), { ...screen('', 0), cells: screen('', 0).cells.map((byte, i) => (i === 11 ? 0x1c : byte)) })).toBe(
    '\x1b[2;2H\x1b[0;91;44m \x1b[?25h\x1b[1;1H',
  );
});

it('types letters, control letters and keys that send sequences', () => {
  expect(chordsOf('aA\r\x03\x1b[A\x1b')).toEqual([['KeyA'], ['ShiftLeft', 'KeyA'], ['Enter'], ['ControlLeft', 'KeyC'], ['ArrowUp'], ['Escape']]);
  expect(chordsOf('\xff')).toEqual([]);
});
