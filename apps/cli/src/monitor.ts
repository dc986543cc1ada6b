import { nearestName } from '@nestvm/isa/models';

/** What the monitor can do to a machine. */
export interface MonitorTarget {
  stop(): void;
  resume(): void;
  reset(): void;
  powerButton(): void;
  quit(): void;
  /** Text of `info WHAT`, or undefined for what there is no information about. */
  info(what: string): string | undefined;
  /** `savevm`, `loadvm`, `migrate` …: answers when it is done, and never fails. */
  migration(command: string, args: readonly string[], print: (text: string) => void): Promise<string>;
}

/** The commands and what they do. */
export const monitorCommands: Readonly<Record<string, string>> = {
  help: 'this list',
  quit: 'end Nestvm',
  stop: 'stop the CPUs',
  cont: 'go on',
  system_reset: 'reset the machine',
  system_powerdown: 'press the power button',
  savevm: 'savevm FILE: save the machine; refused while an L2 is active',
  loadvm: 'loadvm FILE: go back to what savevm saved',
  migrate: 'migrate [-d] [-w] tcp:HOST:PORT|unix:PATH|file:F: move the machine (-w: wait until no L2 is active)',
  migrate_cancel: 'end the migration that is under way; the machine stays here',
  migrate_set_speed: 'migrate_set_speed BYTES: limit of the line per second (K, M, G; 0: none)',
  migrate_set_downtime: 'migrate_set_downtime SECONDS: how long the machine may stand still',
  info: 'info status, registers, cpus, levels, timers, devices, memory, nested, migrate, version',
};
const ALIASES: Readonly<Record<string, string>> = { q: 'quit', c: 'cont', s: 'stop', h: 'help', '?': 'help' };
const PROMPT = '(nestvm) ';

/** A small line editor and the commands behind it; `print` takes text with \r\n line ends. */
export class Monitor {
  private line = '';
  /** A command runs; what is typed meanwhile waits. */
  private busy = false;
  private typed: number[] = [];

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
      if (this.busy) {
        this.typed.push(byte);
        continue;
      }
      if (byte === 13 || byte === 10) {
        this.print('\r\n');
        this.run(this.line.trim());
        this.line = '';
        if (!this.busy) this.print(PROMPT);
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

  /** Prints what a command says when it is done; meanwhile the prompt waits, as in QEMU. */
  private later(answer: Promise<string>, print: (text: string) => void): void {
    this.busy = true;
    void answer.then((text) => {
      print(text);
      this.busy = false;
      this.print(PROMPT);
      const { typed } = this;
      this.typed = [];
      this.receive(Uint8Array.from(typed));
    });
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
            `info ${rest[0]}: unknown; there are status, registers, cpus, levels, timers, devices, memory, nested, migrate, version\r\n`,
        );
      case 'savevm':
      case 'loadvm':
      case 'migrate':
      case 'migrate_cancel':
      case 'migrate_set_speed':
      case 'migrate_set_downtime': {
        const print = (text: string): void => this.print(text.replaceAll('\n', '\r\n'));
        this.later(this.target.migration(command, rest, print), print);
        return;
      }
      default: {
        const near = nearestName(word, Object.keys(monitorCommands));
        this.print(`${word}: no such command; ${near ? `the nearest is '${near}'` : "'help' lists them"}\r\n`);
      }
    }
  }
}
