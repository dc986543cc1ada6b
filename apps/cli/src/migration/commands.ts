import { UsageError } from '../errors.js';
import { parseSize } from '../options/text.js';
import type { MigrationController } from './controller.js';
import { reasonOf } from './departure.js';
import { setCapability, setParameter } from './parameters.js';

function oneArgument(command: string, args: readonly string[], what: string): string {
  const [argument, ...more] = args;
  if (argument === undefined || more.length > 0) throw new UsageError(`write ${command} ${what}`);
  return argument;
}

function twoArguments(command: string, args: readonly string[]): readonly [string, string] {
  const [name, value, ...more] = args;
  if (name === undefined || value === undefined || more.length > 0) throw new UsageError(`write ${command} NAME VALUE`);
  return [name, value];
}

function setDowntime(migration: MigrationController, text: string): string {
  const seconds = Number(text);
  if (!(seconds >= 0 && seconds <= 2000)) throw new UsageError(`'${text}' is no time; write seconds, for example 0.3`);
  migration.parameters.downtimeLimitMs = seconds * 1000;
  return '';
}

/** Runs a monitor command about snapshots and migration; throws `UsageError` and `MigrationError`. */
export async function runMigrationCommand(
  migration: MigrationController,
  command: string,
  args: readonly string[],
  print: (text: string) => void,
): Promise<string> {
  switch (command) {
    case 'savevm':
      return migration.save(
        oneArgument(
          command,
          args.filter((argument) => argument !== '-z'),
          '[-z] FILE',
        ),
        args.includes('-z'),
      );
    case 'loadvm':
      return migration.load(oneArgument(command, args, 'FILE'));
    case 'migrate_cancel':
      return migration.cancelMigration();
    case 'migrate_incoming':
      await migration.receiveFrom(oneArgument(command, args, 'URI'));
      return '';
    case 'migrate_set_speed':
      migration.parameters.maxBandwidth = parseSize(command, oneArgument(command, args, 'BYTES'), 1);
      return '';
    case 'migrate_set_parameter':
      setParameter(migration.parameters, ...twoArguments(command, args));
      return '';
    case 'migrate_set_capability':
      setCapability(migration.parameters, ...twoArguments(command, args));
      return '';
    case 'migrate_set_downtime':
      return setDowntime(migration, oneArgument(command, args, 'SECONDS'));
    default: {
      const rest = args.filter((argument) => argument !== '-d' && argument !== '-w');
      const uri = oneArgument(
        command,
        rest[0]?.startsWith('exec:') ? [rest.join(' ')] : rest,
        '[-d] [-w] tcp:HOST:PORT|unix:PATH|fd:N|exec:COMMAND|ws://HOST:PORT|file:F',
      );
      const moving = migration.migrate(uri, args.includes('-w'), print);
      if (!args.includes('-d')) return moving;
      void moving.then(print, (error: unknown) => print(`migrate: ${reasonOf(error)}\n`));
      return '';
    }
  }
}
