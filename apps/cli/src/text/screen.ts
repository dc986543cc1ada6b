import type { TextScreen } from '@nestvm/devices/display';
import { CODE_PAGE_437 } from './code-page.js';

/** Colours of a terminal by those of a VGA, whose red and blue are the other way round. */
const COLOURS = [0, 4, 2, 6, 1, 5, 3, 7] as const;
const CLEAR = '\x1b[0m\x1b[2J';

/** The escape sequence for an attribute. */
function style(attribute: number): string {
  const foreground = COLOURS[attribute & 7]! + (attribute & 8 ? 90 : 30);
  return `\x1b[0;${foreground};${40 + COLOURS[(attribute >> 4) & 7]!}m`;
}

/** What to send to a terminal that shows `before`, so that it shows `after`: cells that differ, then the cursor. */
export function drawScreen(before: TextScreen | undefined, after: TextScreen): string {
  const same = before?.columns === after.columns && before.rows === after.rows;
  const parts: string[] = same ? [] : [CLEAR];
  let attribute = -1;
  for (let cell = 0, next = -1; cell < after.columns * after.rows; cell++) {
    const [character, look] = [after.cells[2 * cell]!, after.cells[2 * cell + 1]!];
    if (same && character === before.cells[2 * cell] && look === before.cells[2 * cell + 1]) continue;
    if (cell !== next) parts.push(`\x1b[${Math.floor(cell / after.columns) + 1};${(cell % after.columns) + 1}H`);
    if (look !== attribute) parts.push(style(look));
    attribute = look;
    parts.push(CODE_PAGE_437[character]!);
    // A terminal need not go on in the next line by itself.
    next = (cell + 1) % after.columns === 0 ? -1 : cell + 1;
  }
  if (parts.length === 0 && before?.cursor === after.cursor) return '';
  if (after.cursor < 0) parts.push('\x1b[?25l');
  else parts.push(`\x1b[?25h\x1b[${Math.floor(after.cursor / after.columns) + 1};${(after.cursor % after.columns) + 1}H`);
  return parts.join('');
}
