import type { ReadStream } from 'node:tty';

/** What the keyboard may ask for besides input to the guest. */
export interface TerminalActions {
  /** Bytes for the guest. */
  readonly input: (bytes: Uint8Array) => void;
  /** Ctrl-A x. */
  readonly quit: () => void;
  /** Ctrl-A c. */
  readonly monitor: () => void;
  /** Ctrl-C where the terminal does not belong to the guest alone. */
  readonly interrupt: () => void;
}

/** How the terminal is used. */
export interface TerminalOptions {
  /** True: the escape character works, and Ctrl-C goes to the guest (`mon:stdio`). */
  readonly monitor: boolean;
  /** Code of the escape character (1: Ctrl-A). */
  readonly escape: number;
}

const HELP = 'h    print this help\r\nx    end Nestvm\r\nc    switch between console and monitor\r\n';
const CTRL_C = 3;
const OUTPUT_BYTES = 8192;

/** The host's terminal: raw while the guest has it, restored whatever happens. */
export class Terminal {
  /** Told of another size of the window. */
  onResize: ((columns: number, rows: number) => void) | undefined;
  private escaped = false;
  private raw = false;
  private readonly pending = Buffer.alloc(OUTPUT_BYTES);
  private used = 0;
  private scheduled = false;
  private readonly onData = (data: Uint8Array): void => this.receive(data);
  private readonly onExit = (): void => this.restore();
  private readonly onSize = (): void => {
    const { columns, rows } = this.size;
    if (columns !== undefined && rows !== undefined) this.onResize?.(columns, rows);
  };

  constructor(
    private readonly options: TerminalOptions,
    private readonly actions: TerminalActions,
    private readonly streams: { readonly input: NodeJS.ReadStream; readonly output: NodeJS.WriteStream } = {
      input: process.stdin,
      output: process.stdout,
    },
  ) {}

  /** Columns and rows of the window; nothing when the output is none. */
  get size(): { readonly columns?: number; readonly rows?: number } {
    const { isTTY, columns, rows } = this.streams.output;
    return isTTY ? { columns, rows } : {};
  }

  /** Takes the keyboard. */
  open(): void {
    const { input } = this.streams;
    process.on('exit', this.onExit);
    if (input.isTTY) {
      (input as ReadStream).setRawMode(true);
      this.raw = true;
    }
    input.on('data', this.onData);
    this.streams.output.on('resize', this.onSize);
    // A closed or failing standard input is just one that says nothing more.
    input.on('error', () => {});
    input.resume();
  }

  /** Gives everything back. Safe to call at any time, any number of times. */
  restore(): void {
    this.flush();
    process.off('exit', this.onExit);
    const { input } = this.streams;
    input.off('data', this.onData);
    this.streams.output.off('resize', this.onSize);
    input.pause();
    if (!this.raw) return;
    this.raw = false;
    (input as ReadStream).setRawMode(false);
  }

  /** One byte to the screen; sent on with others at the next turn of the event loop. */
  write(byte: number): void {
    this.pending[this.used++] = byte;
    if (this.used === OUTPUT_BYTES) this.flush();
    else if (!this.scheduled) {
      this.scheduled = true;
      setImmediate(() => this.flush());
    }
  }

  print(text: string): void {
    for (const byte of Buffer.from(text)) this.write(byte);
  }

  flush(): void {
    this.scheduled = false;
    if (this.used === 0) return;
    const bytes = Buffer.from(this.pending.subarray(0, this.used));
    this.used = 0;
    this.streams.output.write(bytes);
  }

  private receive(data: Uint8Array): void {
    if (!this.options.monitor) {
      const end = this.raw ? data.indexOf(CTRL_C) : -1;
      if (end < 0) return this.actions.input(data);
      this.actions.input(data.subarray(0, end));
      return this.actions.interrupt();
    }
    let start = 0;
    for (let i = 0; i < data.length; i++) {
      const byte = data[i]!;
      if (this.escaped) {
        this.escaped = false;
        start = i + 1;
        this.command(byte);
      } else if (byte === this.options.escape) {
        if (i > start) this.actions.input(data.subarray(start, i));
        this.escaped = true;
        start = i + 1;
      }
    }
    if (start < data.length) this.actions.input(data.subarray(start));
  }

  private command(byte: number): void {
    if (byte === this.options.escape) this.actions.input(Uint8Array.of(byte));
    else if (byte === 0x78) this.actions.quit();
    else if (byte === 0x63) this.actions.monitor();
    else if (byte === 0x68 || byte === 0x3f) this.print(`\r\n${HELP}`);
  }
}
