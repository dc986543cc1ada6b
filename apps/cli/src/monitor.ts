import { nearestName } from '@nestvm/isa/models';

/** What the monitor can do to a machine. */
export interface MonitorTarget {
  stop(): void;
  resume(): void;
  reset(): void;
  powerButton(): void;
  quit(): void;
  /** Whether the machine runs now. */
  readonly running: boolean;
  /** Text of `info WHAT`, or undefined for what there is no information about. */
  info(what: string): string | undefined;
}

/** The commands and what they do. */
export const monitorCommands: Readonly<Record<string, string>> = {
  help: 'this list',
  quit: 'end Nestvm',
  stop: 'stop the CPUs',
  cont: 'go on',
  system_reset: 'reset the machine',
  system_powerdown: 'press the power button',
  info: 'info status, registers, cpus, levels, timers, devices, memory, version',
};
const ALIASES: Readonly<Record<string, string>> = { q: 'quit', c: 'cont', s: 'stop', h: 'help', '?': 'help' };
const PROMPT = '(nestvm) ';

/** A small line editor and the commands behind it; `print` takes text with \r\n line ends. */
export class Monitor {
  private line = '';

  constructor(
    private readonly target: MonitorTarget,
    private readonly print: (text: string) => void,
  ) {}

  enter(): void {
    this.line = '';
    this.print(`\r\nNestvm monitor, 'help' lists the commands\r\n${PROMPT}`);
  }

  /** Keys that were typed while the monitor is in front. */
  receive(bytes: Uint8Array): void {
    for (const byte of bytes) {
      if (byte === 13 || byte === 10) {
        this.print('\r\n');
        this.run(this.line.trim());
        this.line = '';
        this.print(PROMPT);
      } else if (byte === 127 || byte === 8) {
        if (this.line === '') continue;
        this.line = this.line.slice(0, -1);
        this.print('\b \b');
      } else if (byte >= 32 && byte < 127) {
        this.line += String.fromCharCode(byte);
        this.print(String.fromCharCode(byte));
      }
    }
  }

  private run(line: string): void {
    if (line === '') return;
    const [word = '', ...rest] = line.split(/\s+/);
    const command = ALIASES[word] ?? word;
    switch (command) {
      case 'help':
        return this.print(
          Object.entries(monitorCommands)
            .map(([name, help]) => `${name.padEnd(18)}${help}\r\n`)
            .join(''),
        );
      case 'quit':
        return this.target.quit();
      case 'stop':
        return this.target.stop();
      case 'cont':
        return this.target.resume();
      case 'system_reset':
        return this.target.reset();
      case 'system_powerdown':
        return this.target.powerButton();
      case 'info':
        return this.print(
          this.target.info(rest[0] ?? 'status')?.replaceAll('\n', '\r\n') ??
            `info ${rest[0]}: unknown; there are status, registers, cpus, levels, timers, devices, memory, version\r\n`,
        );
      default: {
        const near = nearestName(word, Object.keys(monitorCommands));
        this.print(`${word}: no such command; ${near ? `the nearest is '${near}'` : "'help' lists them"}\r\n`);
      }
    }
  }
}
