import { UsageError } from '../errors.js';
import type { MigrationController } from './controller.js';

function oneArgument(command: string, args: readonly string[], what: string): string {
  const [argument, ...more] = args;
  if (argument === undefined || more.length > 0) throw new UsageError(`write ${command} ${what}`);
  return argument;
}

const UNITS: Readonly<Record<string, number>> = { '': 1, k: 2 ** 10, m: 2 ** 20, g: 2 ** 30 };

function parseSpeed(text: string): number {
  const match = /^(\d+)([kmg]?)$/i.exec(text);
  if (!match) throw new UsageError(`'${text}' is no number of bytes; write 32M or 1G`);
  return Number(match[1]) * UNITS[match[2]!.toLowerCase()]!;
}

function setDowntime(migration: MigrationController, text: string): string {
  const seconds = Number(text);
  if (!(seconds >= 0 && seconds <= 2000)) throw new UsageError(`'${text}' is no time; write seconds, for example 0.3`);
  migration.downtimeLimitMs = seconds * 1000;
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
      return migration.save(oneArgument(command, args, 'FILE'));
    case 'loadvm':
      return migration.load(oneArgument(command, args, 'FILE'));
    case 'migrate_cancel':
      return migration.cancelMigration();
    case 'migrate_set_speed':
      migration.bandwidth = parseSpeed(oneArgument(command, args, 'BYTES')) || undefined;
      return '';
    case 'migrate_set_downtime':
      return setDowntime(migration, oneArgument(command, args, 'SECONDS'));
    default: {
      const rest = args.filter((argument) => argument !== '-d' && argument !== '-w');
      const uri = oneArgument(command, rest, '[-d] [-w] tcp:HOST:PORT|unix:PATH|file:F');
      const moving = migration.migrate(uri, args.includes('-w'), print);
      if (!args.includes('-d')) return moving;
      void moving.then(print, (error: unknown) => print(`migrate: ${error instanceof Error ? error.message : String(error)}\n`));
      return '';
    }
  }
}
