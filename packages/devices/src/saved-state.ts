import { DeviceError } from './errors.js';

/** Checks untrusted data and returns it as `T`; throws `DeviceError` (`bad-state`) naming the path otherwise. */
export interface Schema<T> {
  check(value: unknown, path: string): T;
}

/** The plain data that a schema describes. */
export type Saved<S> = S extends Schema<infer T> ? T : never;

function reject(path: string, wanted: string, value: unknown): never {
  const shown =
    typeof value === 'number' || typeof value === 'string' || typeof value === 'boolean' || value === null
      ? String(value)
      : `of type ${typeof value}`;
  throw new DeviceError('bad-state', `saved state: ${path} must be ${wanted}, not ${shown}; the snapshot is damaged or of another version`);
}

/** An integer from `min` to `max`, both included. */
export const integer = (min: number, max: number): Schema<number> => ({
  check(value, path) {
    if (typeof value !== 'number' || !Number.isInteger(value) || value < min || value > max) reject(path, `an integer from ${min} to ${max}`, value);
    return value;
  },
});

/** An unsigned integer of `bits` bits (at most 53). */
export const unsigned = (bits: number): Schema<number> => integer(0, 2 ** bits - 1);

/** A moment or duration in ns, ticks or the like: a safe integer of either sign. */
export const count: Schema<number> = integer(Number.MIN_SAFE_INTEGER, Number.MAX_SAFE_INTEGER);

/** A boolean. */
export const flag: Schema<boolean> = {
  check(value, path) {
    if (typeof value !== 'boolean') reject(path, 'true or false', value);
    return value;
  },
};

/** A timer's deadline: ns, or null when it is idle. */
export const deadline: Schema<number | null> = {
  check: (value, path) => (value === null ? null : count.check(value, path)),
};

/** What older snapshots do not have: `fallback` then. */
export const added = <T>(schema: Schema<T>, fallback: T): Schema<T> => ({
  check: (value, path) => (value === undefined ? fallback : schema.check(value, path)),
});

/** A list of exactly `length` items, or of at most `max`. */
export const list = <T>(item: Schema<T>, size: { length: number } | { max: number }): Schema<T[]> => ({
  check(value, path) {
    const fits = Array.isArray(value) && ('length' in size ? value.length === size.length : value.length <= size.max);
    if (!fits) reject(path, 'length' in size ? `a list of ${size.length}` : `a list of at most ${size.max}`, value);
    return (value as unknown[]).map((element, index) => item.check(element, `${path}[${index}]`));
  },
});

/** An object with exactly these members. */
export const record = <S extends Record<string, Schema<unknown>>>(shape: S): Schema<{ [K in keyof S]: Saved<S[K]> }> => ({
  check(value, path) {
    if (typeof value !== 'object' || value === null || Array.isArray(value)) reject(path, 'an object', value);
    for (const key of Object.keys(value)) if (!(key in shape)) reject(`${path}.${key}`, 'absent', (value as Record<string, unknown>)[key]);
    const result: Record<string, unknown> = {};
    for (const [key, schema] of Object.entries(shape)) result[key] = schema.check((value as Record<string, unknown>)[key], `${path}.${key}`);
    return result as { [K in keyof S]: Saved<S[K]> };
  },
});

/** What every device that can be saved offers: plain data out, untrusted data in. Loading sets lines and timers anew and replays nothing. */
export interface SavableDevice<T> {
  save(): T;
  load(saved: unknown): void;
}

/** A timer's deadline as it is saved. */
export const savedDeadline = (deadlineNs: number): number | null => (deadlineNs === Infinity ? null : deadlineNs);
