import { CpuModelError, nearestName } from '@nestvm/isa/models';
import { useHostComparison } from '@nestvm/migration';
import { demo } from './demo.js';
import { UsageError } from './errors.js';
import { explainBytes } from './explain.js';
import { deviceHelp, devicesHelp, logHelp, machinesHelp, modelsHelp, optionHelp, overview, runHelp } from './help.js';
import { explainFailure } from './migration/failure.js';
import { relay } from './relay.js';
import { run } from './run.js';
import { VERSION } from './version.js';

const USAGE_STATUS = 2;
const COMMANDS = ['run', 'demo', 'relay', 'explain', 'models', 'machines', 'version', 'help'] as const;

useHostComparison((a, b) => Buffer.compare(a, b) === 0);

/** What an option that only prints prints: `-M help`, `-cpu help` …; undefined when there is none. */
function askedFor(args: readonly string[]): string | undefined {
  const is = (i: number, ...names: string[]): boolean => names.includes(args[i]!.replace(/^--?/, ''));
  for (let i = 0; i < args.length; i++) {
    if (!args[i]!.startsWith('-')) continue;
    if (is(i, 'help', 'h')) return runHelp();
    if (is(i, 'version', 'V')) return `${VERSION}\n`;
    const asked = helpOn(args[i]!.replace(/^--?/, ''), args[i + 1] ?? '');
    if (asked !== undefined) return asked;
  }
  return undefined;
}

/** Options whose values have a list of their own. */
const LISTS: Readonly<Record<string, () => string>> = { M: machinesHelp, machine: machinesHelp, cpu: modelsHelp, device: devicesHelp, d: logHelp };
/** Options whose argument is a text of the user's, which may be `help`. */
const FREE_TEXT: ReadonlySet<string> = new Set([
  'append',
  'name',
  'kernel',
  'initrd',
  'D',
  'bios',
  'hda',
  'hdb',
  'hdc',
  'hdd',
  'cdrom',
  'L',
  'loadvm',
  'modprobe',
]);

/** What `-OPTION help` prints; undefined when this is none. */
function helpOn(option: string, value: string): string | undefined {
  if (option === 'device' && /,(help|\?)$/.test(value)) return deviceHelp(value.split(',')[0]!);
  if (!/^(model=)?(help|\?)$/.test(value) || FREE_TEXT.has(option)) return undefined;
  return Object.hasOwn(LISTS, option) ? LISTS[option]!() : optionHelp(option);
}

async function dispatch(args: readonly string[]): Promise<number> {
  const [command, ...rest] = args;
  const print = (text: string): number => {
    process.stdout.write(text);
    return 0;
  };
  if (command === undefined) return print(overview);
  const isOption = command.startsWith('-');
  if (isOption && /^--?(h|help)$/.test(command)) return print(overview);
  const asked = isOption ? askedFor(args) : command === 'run' ? askedFor(rest) : undefined;
  if (asked !== undefined) return print(asked);
  if (isOption) return run(args);
  switch (command) {
    case 'run':
      return run(rest);
    case 'demo':
      return demo(rest);
    case 'relay':
      return relay(rest);
    case 'explain':
      return print(explainBytes(rest));
    case 'models':
      return print(modelsHelp(rest[0]));
    case 'machines':
      return print(machinesHelp());
    case 'version':
      return print(`${VERSION}\n`);
    case 'help':
      return print(rest[0] === 'run' ? runHelp() : overview);
    default: {
      const near = nearestName(command, COMMANDS);
      throw new UsageError(`${command}: no such command; ${near ? `the nearest is '${near}'` : `there are ${COMMANDS.join(', ')}`}`);
    }
  }
}

function report(error: unknown): number {
  if (error instanceof UsageError || error instanceof CpuModelError) {
    process.stderr.write(`nestvm: ${error.message}\n`);
    return USAGE_STATUS;
  }
  const known = explainFailure(error);
  if (known) {
    process.stderr.write(`nestvm: ${known.message}\n`);
    return known.status;
  }
  process.stderr.write(`nestvm: internal error: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}\n`);
  return 70;
}

// A reader that went away (| head) ends the program quietly.
process.stdout.on('error', () => process.exit(0));
const status = dispatch(process.argv.slice(2)).catch(report);
let done = false;
// Nothing is left that could ever settle it: better to say so than to end as if all were well.
process.once('beforeExit', () => {
  if (!done) process.exit(report(new Error('what was asked for has not come to its end, and nothing is left to wait for')));
});
// What is still in the pipe goes out first.
void status.then((code) => {
  done = true;
  process.stdout.write('', () => process.exit(code));
});
