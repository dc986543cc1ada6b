import { createMonitorMemory, execute } from './monitor/commands.js';
import type { MonitorTarget } from './monitor/target.js';

const PROMPT = '(nestvm) ';
/** Longest line, as in QEMU; what is typed behind it is lost. */
const LONGEST_LINE = 4095;
const Key = { BACKSPACE: 8, LINE_FEED: 10, RETURN: 13, DELETE: 127 } as const;

/** A small line editor and the commands behind it; `print` takes text with \r\n line ends. */
export class Monitor {
  private line = '';
  /** What is to be shown of the keys that have come together. */
  private echo = '';
  /** A command runs; what is typed meanwhile waits. */
  private busy = false;
  private typed: number[] = [];
  private lastByte = 0;
  private readonly memory = createMonitorMemory();

  constructor(
    private readonly target: MonitorTarget,
    private readonly write: (text: string) => void,
  ) {}

  enter(): void {
    this.line = '';
    this.write(`\r\nNestvm monitor, 'help' lists the commands\r\n${PROMPT}`);
  }

  /** Keys that were typed while the monitor is in front. */
  receive(bytes: Uint8Array): void {
    for (const byte of bytes) {
      if (this.busy) this.typed.push(byte);
      else this.key(byte);
      this.lastByte = byte;
    }
    this.showKeys('');
  }

  private showKeys(end: string): void {
    const text = this.echo + end;
    this.echo = '';
    if (text !== '') this.write(text);
  }

  private key(byte: number): void {
    if (byte === Key.LINE_FEED && this.lastByte === Key.RETURN) return;
    if (byte === Key.RETURN || byte === Key.LINE_FEED) return this.finishLine();
    if (byte === Key.DELETE || byte === Key.BACKSPACE) {
      if (this.line === '') return;
      this.line = this.line.slice(0, -1);
      this.echo += '\b \b';
    } else if (byte >= 32 && byte < 127 && this.line.length < LONGEST_LINE) {
      const character = String.fromCharCode(byte);
      this.line += character;
      this.echo += character;
    }
  }

  private finishLine(): void {
    this.showKeys('\r\n');
    const { line } = this;
    this.line = '';
    const answer = execute(this.target, this.memory, line, (text) => this.print(text));
    if (typeof answer !== 'string') return this.later(answer);
    this.print(`${answer}${PROMPT}`);
  }

  /** Prints what a command says when it is done; meanwhile the prompt waits, as in QEMU. */
  private later(answer: Promise<string>): void {
    this.busy = true;
    void answer.then((text) => {
      this.print(text);
      this.busy = false;
      this.write(PROMPT);
      const { typed } = this;
      this.typed = [];
      this.receive(Uint8Array.from(typed));
    });
  }

  private print(text: string): void {
    this.write(text.replaceAll('\n', '\r\n'));
  }
}
