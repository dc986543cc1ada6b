import type { SavedValue } from './snapshot.js';
import { loadStruct, saveStruct } from './snapshot.js';
import type { Field, Struct } from './struct.js';

/**
 * A unit whose state goes into a snapshot. `save` copies it out as plain data; `load` checks untrusted data, throws before it changes anything,
 * and then re-derives caches, lines and timers without replaying side effects.
 */
export interface Stateful {
  readonly kind: 'stateful';
  /** Schema version of what `save` returns. */
  readonly version: number;
  save(): SavedValue;
  load(saved: unknown): void;
  /** What to load from snapshots of before there was such a unit; without it they are refused. */
  readonly before?: SavedValue;
}

/** A unit with nothing to save. */
export interface Stateless {
  readonly kind: 'stateless';
}

/** A unit that makes the machine impossible to save. */
export interface NonMigratable {
  readonly kind: 'non-migratable';
  /** The reason, for the person who asked. */
  readonly why: string;
}

/** What every unit of a machine says of itself; there is no default. */
export type Migratable = Stateful | Stateless | NonMigratable;

/** There is nothing to save. */
export const stateless: Stateless = { kind: 'stateless' };

/** Forbids saving, and says why. */
export const nonMigratable = (why: string): NonMigratable => ({ kind: 'non-migratable', why });

/** A schema version and the two halves of a `Stateful`. */
export interface StatefulOptions {
  readonly version: number;
  save(): SavedValue;
  load(saved: unknown): void;
  readonly before?: SavedValue;
}

/** Makes a unit stateful from a pair of functions. */
export const stateful = (options: StatefulOptions): Stateful => ({
  kind: 'stateful',
  version: options.version,
  save: () => options.save(),
  load: (saved) => options.load(saved),
  ...(options.before === undefined ? {} : { before: options.before }),
});

/** Makes the struct at byte `base` of `buffer` a unit; `rederive` rebuilds what is derived, after a load. */
export function structState(struct: Struct<Record<string, Field>>, buffer: ArrayBufferLike, base: number, rederive: () => void): Stateful {
  return stateful({
    version: struct.version,
    save: () => saveStruct(struct, buffer, base),
    load: (saved) => {
      loadStruct(struct, buffer, base, saved);
      rederive();
    },
  });
}
