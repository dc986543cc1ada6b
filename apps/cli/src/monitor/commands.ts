import { nearestName } from '@nestvm/isa/models';
import { UsageError } from '../errors.js';
import { writeBytes } from '../files.js';
import { runMigrationCommand } from '../migration/commands.js';
import { messageOf } from '../migration/failure.js';
import { parseInteger, parseProperties } from '../options/text.js';
import { dumpScreen, parseScreenDump } from '../screendump.js';
import { additionCommands } from './additions.js';
import { askForMemory } from './balloon.js';
import { type ExamineFormat, examine, formatValue, parseFormat } from './examine.js';
import { evaluate } from './expression.js';
import { infoRows } from './info.js';
import { moveMouse, pressButtons } from './input.js';
import { keyCode } from './keys.js';
import { MCE_USAGE, machineCheck } from './machine-check.js';
import type { MonitorTarget } from './target.js';

/** What one monitor remembers between two commands. */
export interface MonitorMemory {
  /** Number of the vCPU that `info registers`, `x` and the like are about. */
  cpu: number;
  format: ExamineFormat;
}

/** A memory that has seen no command yet. */
export const createMonitorMemory = (): MonitorMemory => ({ cpu: 0, format: { count: 1, letter: 'x', bytes: 4 } });

interface Call {
  readonly target: MonitorTarget;
  readonly memory: MonitorMemory;
  /** Words after the command's name. */
  readonly args: readonly string[];
  /** What `x/10i` has behind the name. */
  readonly format: string | undefined;
  /** For what a command says before or after its answer. */
  readonly print: (text: string) => void;
}

interface CommandRow {
  readonly help: string;
  readonly run: (call: Call) => string | readonly string[] | Promise<string> | void;
}

const addressOf = ({ target, memory, args }: Call, usage: string): bigint => {
  if (args.length === 0) throw new UsageError(`write ${usage}`);
  return evaluate(args.join(' '), target.machine().cpus[memory.cpu]!);
};

function examineAt(call: Call, physical: boolean): string[] {
  const { target, memory, format } = call;
  const address = addressOf(call, physical ? 'xp /FMT ADDR' : 'x /FMT ADDR');
  memory.format = parseFormat(format ?? '', memory.format);
  return examine(target.machine(), memory.cpu, address, memory.format, physical);
}

function print(call: Call): string {
  const value = addressOf(call, 'print /FMT EXPRESSION');
  const { letter } = parseFormat(call.format ?? 'x', call.memory.format);
  return letter === 'x' ? `0x${value.toString(16)}` : formatValue(value, letter, 8);
}

function toPhysical(call: Call): string {
  const { target, memory } = call;
  const address = addressOf(call, 'gva2gpa ADDR');
  const { steps, entry, outcome } = target.machine().inspector.shadow(memory.cpu, address);
  const stages = steps.some((step) => step.stage === 'nested') && entry ? `, physical: 0x${entry.physical.toString(16)}` : '';
  return entry ? `gpa: 0x${entry.guestPhysical.toString(16)}${stages}` : `unmapped (${outcome})`;
}

function selectCpu({ target, memory, args }: Call): void {
  const count = target.machine().cpus.length;
  const cpu = Number(args[0]);
  if (!(Number.isInteger(cpu) && cpu >= 0 && cpu < count)) throw new UsageError(`write cpu N; this machine has CPUs 0 to ${count - 1}`);
  memory.cpu = cpu;
}

/** How long a key stays down, in ms of host time. */
const HOLD_MS = 100;

/** Presses keys together and releases them in reverse; throws `UsageError`. */
export function sendKeys(target: MonitorTarget, names: readonly string[], holdMs = HOLD_MS): void {
  const codes = names.map(keyCode);
  const machine = target.machine();
  for (const code of codes) if (!machine.key(code, true)) throw new UsageError(`${code}: this machine has no keyboard with that key`);
  setTimeout(() => {
    for (const code of codes.reverse()) machine.key(code, false);
  }, holdMs).unref();
}

function saveMemory(call: Call, physical: boolean): string {
  const { target, memory, args } = call;
  const [start, size, path] = args;
  if (path === undefined) throw new UsageError(`write ${physical ? 'pmemsave' : 'memsave'} ADDR SIZE FILE`);
  const machine = target.machine();
  const cpu = machine.cpus[memory.cpu]!;
  const length = Number(evaluate(size!, cpu));
  if (length > machine.config.memoryBytes) throw new UsageError(`${length} bytes are more than the machine's memory`);
  const bytes = new Uint8Array(length);
  const address = evaluate(start!, cpu);
  const done = physical ? machine.inspector.readPhysical(Number(address), bytes) : machine.inspector.readLinear(memory.cpu, address, bytes);
  if (done < length) throw new UsageError(`only ${done} bytes can be read at 0x${address.toString(16)}`);
  writeBytes(physical ? 'pmemsave' : 'memsave', path, bytes);
  return '';
}

function info({ target, memory, args }: Call): string | readonly string[] {
  const [what, ...rest] = args;
  if (what === undefined) return Object.entries(infoRows).map(([name, row]) => `info ${name.padEnd(14)}${row.help}`);
  const row = Object.hasOwn(infoRows, what) ? infoRows[what] : undefined;
  if (row !== undefined) return row.show(target, memory.cpu, rest);
  const near = nearestName(what, Object.keys(infoRows));
  throw new UsageError(`${what}: unknown; ${near ? `the nearest is 'info ${near}'` : `there are ${Object.keys(infoRows).join(', ')}`}`);
}

/** The whole list, or what one command or one `info` does. */
function helpOn([name, what]: readonly string[]): string[] {
  const rows = name === 'info' ? infoRows : monitorCommands;
  const wanted = name === 'info' ? what : name;
  const known = Object.entries(rows).filter(([each]) => wanted === undefined || each === wanted);
  if (known.length === 0) throw new UsageError(`${wanted}: no such command; 'help' lists them`);
  return known.map(([each, { help }]) => `${`${name === 'info' ? 'info ' : ''}${each}`.padEnd(22)}${help}`);
}

const additionAnswer = (answer: string | Promise<string | void> | void): string | Promise<string> | void =>
  answer instanceof Promise ? answer.then((said) => said ?? '') : answer;

const migration = (command: string, help: string): CommandRow => ({
  help,
  run: ({ target, args, print: say }) => runMigrationCommand(target.migration, command, args, say),
});

/** The monitor's commands. */
export const monitorCommands: Readonly<Record<string, CommandRow>> = {
  help: { help: 'this list; help COMMAND: one of it', run: ({ args }) => helpOn(args) },
  quit: { help: 'end Nestvm', run: ({ target }) => target.quit() },
  stop: { help: 'stop the CPUs', run: ({ target }) => target.stop() },
  cont: { help: 'go on', run: ({ target }) => target.resume() },
  system_reset: { help: 'reset the machine', run: ({ target }) => target.reset() },
  system_powerdown: { help: 'press the power button', run: ({ target }) => target.powerButton() },
  balloon: {
    help: 'balloon MIB: let the guest get along with so much memory',
    run: ({ target, args }) => askForMemory(target.machine(), parseInteger('balloon MIB', args[0] ?? '', 1, 2 ** 20) * 2 ** 20),
  },
  ...Object.fromEntries(
    Object.entries(additionCommands).map(([name, row]): [string, CommandRow] => [
      name,
      { help: row.help, run: ({ target, args }) => additionAnswer(row.run(target.additions, args)) },
    ]),
  ),
  drive_del: {
    help: 'drive_del ID: close an image of drive_add that no device has',
    run: ({ target, args }) => {
      if (args[0] === undefined) throw new UsageError('write drive_del ID');
      target.media.removeNode(args[0]);
    },
  },
  device_add: {
    help: 'device_add DEVICE[,PROP=VALUE…]: plug in, as -device: a virtio device on PCI, or scsi-hd, scsi-cd, virtserialport, virtconsole on one',
    run: async ({ target, args }) => {
      const { head, values } = parseProperties(args.join(' '));
      await target.plugging.add(head, values);
      return '';
    },
  },
  device_del: {
    help: 'device_del ID: ask the guest to let go of a device',
    run: ({ target, args }) => {
      if (args[0] === undefined) throw new UsageError('write device_del ID');
      target.plugging.remove(args[0]);
    },
  },
  nmi: { help: 'a non-maskable interrupt to every CPU', run: ({ target }) => target.machine().nmi() },
  mce: {
    help: `${MCE_USAGE}: a machine check; -b: to all CPUs; -e: during the next VM entry`,
    run: ({ target, args }) => machineCheck(target, args),
  },
  sendkey: {
    help: 'sendkey KEYS [MS]: press keys together, as ctrl-alt-delete',
    run: ({ target, args }) => {
      if (args[0] === undefined) throw new UsageError('write sendkey KEYS [MS]; for example sendkey ctrl-alt-delete');
      sendKeys(target, args[0].split('-'), args[1] === undefined ? HOLD_MS : parseInteger('sendkey KEYS MS', args[1], 0, 60_000));
    },
  },
  mouse_move: { help: 'mouse_move DX DY [DZ]: move the mouse, turn its wheel', run: ({ target, args }) => moveMouse(target, args) },
  mouse_button: {
    help: 'mouse_button STATE: which buttons are down: 1 left, 2 middle, 4 right, or their sum',
    run: ({ target, args }) => pressButtons(target, args),
  },
  eject: {
    help: 'eject [-f] DRIVE: take the CD out; -f: though the guest has locked it',
    run: ({ target, args }) => {
      const name = args.find((word) => word !== '-f');
      if (name === undefined) throw new UsageError("write eject [-f] DRIVE; 'info block' lists them");
      target.media.eject(name, args.includes('-f'));
    },
  },
  change: {
    help: 'change DRIVE FILE: put another CD in',
    run: async ({ target, args: [name, path] }) => {
      if (name === undefined || path === undefined) throw new UsageError("write change DRIVE FILE; 'info block' lists the drives");
      await target.media.change(name, path);
      return '';
    },
  },
  cpu: { help: 'cpu N: what follows is about this CPU', run: selectCpu },
  info: { help: 'info WHAT: show something; alone: what there is', run: info },
  x: { help: 'x /FMT ADDR: memory at a linear address; FMT is COUNT, one of x d u o c i, one of b h w g', run: (call) => examineAt(call, false) },
  xp: { help: 'xp /FMT ADDR: memory at a physical address', run: (call) => examineAt(call, true) },
  print: { help: 'print /FMT EXPRESSION: value of an expression, as $rip + 8', run: print },
  gva2gpa: { help: 'gva2gpa ADDR: where a linear address leads', run: toPhysical },
  memsave: { help: 'memsave ADDR SIZE FILE: memory at a linear address into a file', run: (call) => saveMemory(call, false) },
  pmemsave: { help: 'pmemsave ADDR SIZE FILE: memory at a physical address into a file', run: (call) => saveMemory(call, true) },
  screendump: {
    help: 'screendump FILE [-f png|ppm] [DEVICE]: what a display shows into a file',
    run: ({ target, args }) => dumpScreen(target.machine(), parseScreenDump(args)),
  },
  savevm: migration('savevm', 'savevm [-z] FILE: save the machine (-z: compressed, slower); refused while an L2 is active'),
  loadvm: migration('loadvm', 'loadvm FILE: go back to what savevm saved'),
  migrate: migration(
    'migrate',
    'migrate [-d] [-w] tcp:HOST:PORT|unix:PATH|fd:N|exec:COMMAND|ws://HOST:PORT|file:F: move the machine (-w: wait until no L2 is active)',
  ),
  migrate_incoming: migration('migrate_incoming', "migrate_incoming URI: where the machine comes from, after '-incoming defer'"),
  migrate_cancel: migration('migrate_cancel', 'end the migration that is under way; the machine stays here'),
  migrate_set_parameter: migration('migrate_set_parameter', "migrate_set_parameter NAME VALUE; 'info migrate_parameters' lists them"),
  migrate_set_capability: migration('migrate_set_capability', "migrate_set_capability NAME on|off; 'info migrate_capabilities' lists them"),
  migrate_set_speed: migration('migrate_set_speed', 'migrate_set_speed BYTES: limit of the line per second (K, M, G; 0: none)'),
  migrate_set_downtime: migration('migrate_set_downtime', 'migrate_set_downtime SECONDS: how long the machine may stand still'),
};

const ALIASES: Readonly<Record<string, string>> = { q: 'quit', c: 'cont', s: 'stop', h: 'help', '?': 'help', p: 'print' };

const text = (answer: string | readonly string[] | void): string =>
  answer === undefined
    ? ''
    : typeof answer === 'string'
      ? answer === '' || answer.endsWith('\n')
        ? answer
        : `${answer}\n`
      : answer.map((line) => `${line}\n`).join('');

/** Commands that take `/FMT`. */
const FORMATTED: ReadonlySet<string> = new Set(['x', 'xp', 'print']);

/** One line for people about a failure. What is none of ours is a bug, and is called one: the guest need not go down with it. */
function complaint(command: string, error: unknown): string {
  const message = messageOf(error);
  // Many messages begin with the command that they are about.
  return message.startsWith(`${command}:`) || message.startsWith(`${command} `) ? `${message}\n` : `${command}: ${message}\n`;
}

/** Carries out one line; the answer ends in a line end when there is one. A promise is what takes its time. */
export function execute(target: MonitorTarget, memory: MonitorMemory, line: string, say: (text: string) => void): string | Promise<string> {
  const [word = '', ...rest] = line.trim().split(/\s+/);
  if (word === '') return '';
  const [name = '', ...attached] = word.split('/');
  const command = ALIASES[name] ?? name;
  const takesFormat = FORMATTED.has(command) && rest[0]?.startsWith('/') === true;
  const format = attached.length > 0 ? attached.join('/') : takesFormat ? rest.shift()!.slice(1) : undefined;
  const row = Object.hasOwn(monitorCommands, command) ? monitorCommands[command] : undefined;
  if (row === undefined) {
    const near = nearestName(name, Object.keys(monitorCommands));
    return `${name}: no such command; ${near ? `the nearest is '${near}'` : "'help' lists them"}\n`;
  }
  try {
    const answer = row.run({ target, memory, args: rest, format, print: say });
    return answer instanceof Promise ? answer.then(text, (error: unknown) => complaint(command, error)) : text(answer);
  } catch (error) {
    return complaint(command, error);
  }
}
