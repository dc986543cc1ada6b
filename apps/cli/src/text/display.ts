import { type TextScreen, Vga } from '@nestvm/devices/display';
import type { Machine } from '@nestvm/machine';
import { UsageError } from '../errors.js';
import { chordsOf } from './keys.js';
import { drawScreen } from './screen.js';

const REFRESH_MS = 50;
/** How long a key stays down, so that a guest that polls sees it. */
const HOLD_MS = 20;

/** What the display writes to. */
export interface TextTerminal {
  print(text: string): void;
}

/** `-display curses`: the characters of the graphics card on the terminal, whose keys are the guest's keyboard. */
export class TextDisplay {
  private readonly vga: Vga;
  private readonly timer: NodeJS.Timeout;
  private shown: TextScreen | undefined;
  private graphics = false;
  private readonly queue: (readonly string[])[] = [];
  private typing = false;

  constructor(
    private readonly machine: Machine,
    private readonly terminal: TextTerminal,
    /** Whether somebody else, a monitor, has the terminal now. */
    private readonly hidden: () => boolean,
  ) {
    const vga = machine.platform.displays.find((display) => display instanceof Vga);
    if (vga === undefined) throw new UsageError('-display curses: this machine has no VGA; write -vga std');
    this.vga = vga;
    this.timer = setInterval(() => this.refresh(), REFRESH_MS);
    this.timer.unref();
  }

  /** Types what came from the terminal. */
  input(bytes: Uint8Array): void {
    this.queue.push(...chordsOf(Buffer.from(bytes).toString('latin1')));
    if (!this.typing) this.type();
  }

  close(): void {
    clearInterval(this.timer);
    this.refresh();
    this.terminal.print('\x1b[0m\x1b[?25h\r\n');
  }

  private refresh(): void {
    if (this.hidden()) {
      this.shown = undefined;
      return;
    }
    const screen = this.vga.text();
    if (screen) {
      this.graphics = false;
      const text = drawScreen(this.shown, screen);
      this.shown = screen;
      if (text !== '') this.terminal.print(text);
      return;
    }
    const picture = this.graphics ? undefined : this.vga.picture();
    if (picture === undefined) return;
    this.graphics = true;
    this.shown = undefined;
    this.terminal.print(`\x1b[0m\x1b[2J\x1b[1;1H${picture.width} x ${picture.height} pixels: save them with screendump\r\n`);
  }

  /** Presses the keys of one character together, then those of the next. */
  private type(): void {
    const chord = this.queue.shift();
    this.typing = chord !== undefined;
    if (chord === undefined) return;
    for (const key of chord) this.machine.key(key, true);
    setTimeout(() => {
      for (const key of chord.toReversed()) this.machine.key(key, false);
      setTimeout(() => this.type(), HOLD_MS).unref();
    }, HOLD_MS).unref();
  }
}
