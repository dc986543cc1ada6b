import { nearestName } from '@nestvm/isa/models';
import { UsageError } from '../errors.js';
import { adviceOnOption } from './absent.js';
import { type OptionRow, optionRows } from './table.js';

/** Options as given: name → every value in order (a switch has the value ''). */
export type RawOptions = ReadonlyMap<string, readonly string[]>;

/** Value of an option that counts once: the last one given. */
export const last = (raw: RawOptions, name: string): string | undefined => raw.get(name)?.at(-1);

const rowByName = new Map<string, OptionRow>(
  optionRows.flatMap((row) => [[row.name, row] as const, ...(row.alias ? [[row.alias, row] as const] : [])]),
);

/**
 * Splits a command line in QEMU's style: `-name value`, `--name value`; a table of our own, because the argument libraries for Node do not take
 * single-dash words. Throws `UsageError`: unknown options name the nearest one.
 */
export function parseOptions(args: readonly string[]): RawOptions {
  const found = new Map<string, string[]>();
  for (let i = 0; i < args.length; i++) {
    const arg = args[i]!;
    if (!arg.startsWith('-') || arg === '-') {
      throw new UsageError(`'${arg}': options start with a dash: a disk image is given with -hda FILE, a kernel with -kernel FILE`);
    }
    const row = rowByName.get(arg.replace(/^--?/, ''));
    if (row === undefined) throw unknownOption(arg);
    const values = found.get(row.name) ?? [];
    if (row.argument === undefined) values.push('');
    else {
      const value = args[++i];
      if (value === undefined) throw new UsageError(`${arg}: an argument is missing: ${arg} ${row.argument}`);
      values.push(value);
    }
    found.set(row.name, values);
  }
  return found;
}

function unknownOption(arg: string): UsageError {
  const name = arg.replace(/^--?/, '');
  const advice = adviceOnOption(name);
  if (advice !== undefined) return new UsageError(`${arg}: Nestvm does not have this option of QEMU: ${advice}`);
  const near = nearestName(name.split('=')[0]!, rowByName.keys());
  if (near && name.includes('=')) return new UsageError(`${arg}: no such option; write '-${near} ${name.slice(name.indexOf('=') + 1)}'`);
  return new UsageError(`${arg}: no such option; ${near ? `the nearest is '-${near}'` : "'nestvm run -help' lists them"}`);
}
