import { UsageError } from '../errors.js';

/** What happens when the host cannot do what a guest asks of a disk. */
export type ErrorAction =
  /** The guest is told. */
  | 'report'
  /** The guest is told that it was done. */
  | 'ignore'
  /** The machine stops; `cont` tries again. */
  | 'stop'
  /** `stop` when there is no space, else `report`. */
  | 'enospc';

/** By kind of request. */
export interface ErrorPolicy {
  readonly write: ErrorAction;
  readonly read: ErrorAction;
}

/** What QEMU does unless it is told. */
export const DEFAULT_ERRORS: ErrorPolicy = { write: 'enospc', read: 'report' };

/** Properties that say it. */
export const ERROR_KEYS = ['werror', 'rerror'] as const;

const ACTIONS = { werror: ['report', 'ignore', 'stop', 'enospc'], rerror: ['report', 'ignore', 'stop'] } as const;

/** Parses `werror=` and `rerror=`; throws `UsageError`. */
export function parseErrorPolicy(option: string, values: ReadonlyMap<string, string>): ErrorPolicy {
  const action = (key: keyof typeof ACTIONS, fallback: ErrorAction): ErrorAction => {
    const value = values.get(key);
    if (value === undefined || value === 'auto') return fallback;
    const found = ACTIONS[key].find((name) => name === value);
    if (found === undefined) throw new UsageError(`${option}: ${key}=${value}: there are ${ACTIONS[key].join(', ')}`);
    return found;
  };
  return { write: action('werror', DEFAULT_ERRORS.write), read: action('rerror', DEFAULT_ERRORS.read) };
}

/** What a device's own properties say, if any; throws `UsageError`. */
export const ownErrorPolicy = (option: string, values: ReadonlyMap<string, string>): { readonly errors?: ErrorPolicy } =>
  ERROR_KEYS.some((key) => values.has(key)) ? { errors: parseErrorPolicy(option, values) } : {};
