import { parseArgs } from 'node:util';

type Vendor = 'intel' | 'amd';

/** What a soak is to do. */
export interface SoakOptions {
  readonly vendors: readonly Vendor[];
  /** Wall time of all runs together. */
  readonly minutes: number;
  /** Guest time between two checkpoints. */
  readonly everyNs: number;
  readonly seed: number;
  readonly reference: 'on' | 'off';
  /** Of the report; absent: none is written. */
  readonly label?: string;
}

/** `pnpm soak --help`. */
export const soakHelp = `pnpm soak [options]: two levels of Debian build and compress files, twice at the same time, once with caches dropped at random; both runs must be the same

--minutes N         wall time of all runs together (10); both vendors share it
--hours N           the same in hours
--vendor V          intel, amd or both (both)
--every N           instructions between two checkpoints, in millions (1000)
--seed N            seed of the drops (1)
--reference on|off  whether the undisturbed run has the JIT (on)
--label NAME        also writes the counts to build/reports/summary-NAME.json
--help              this text

for example: pnpm soak --minutes 30 --vendor amd --seed 7`;

const options = {
  minutes: { type: 'string', default: '10' },
  hours: { type: 'string' },
  vendor: { type: 'string', default: 'both' },
  every: { type: 'string', default: '1000' },
  seed: { type: 'string', default: '1' },
  reference: { type: 'string', default: 'on' },
  label: { type: 'string' },
  help: { type: 'boolean' },
} as const;

function positive(option: string, text: string): number {
  const value = Number(text);
  if (value > 0 && Number.isFinite(value)) return value;
  throw new Error(`--${option} ${text}: write a number above 0; --help lists the options`);
}

function oneOf<T extends string>(option: string, text: string, known: readonly T[]): T {
  const found = known.find((each) => each === text);
  if (found !== undefined) return found;
  throw new Error(`--${option} ${text}: there are ${known.join(', ')}; --help lists the options`);
}

function valuesOf(args: readonly string[]) {
  try {
    // pnpm hands over a `--` of its own.
    return parseArgs({ options, args: args.filter((argument) => argument !== '--') }).values;
  } catch (error) {
    throw new Error(`${(error as Error).message.split('. ')[0]}; --help lists the options`);
  }
}

/** What the arguments ask for; throws an `Error` of one line where they make no sense. */
export function parseSoakOptions(args: readonly string[]): SoakOptions | 'help' {
  const { help, hours, minutes, vendor, every, seed, reference, label } = valuesOf(args);
  if (help) return 'help';
  const wanted = oneOf('vendor', vendor, ['intel', 'amd', 'both']);
  return {
    vendors: wanted === 'both' ? ['intel', 'amd'] : [wanted],
    minutes: hours === undefined ? positive('minutes', minutes) : 60 * positive('hours', hours),
    everyNs: positive('every', every) * 1e6,
    seed: positive('seed', seed),
    reference: oneOf('reference', reference, ['on', 'off']),
    ...(label === undefined ? {} : { label }),
  };
}
