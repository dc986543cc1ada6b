import type { NestedContextReport } from './nested-activity.js';
import { formatContext, isActive } from './nested-activity.js';

/** What went wrong, for programs. */
export type MigrationErrorCode =
  /** An L2 is active: see {@link L2ActiveError}. */
  | 'L2_ACTIVE'
  /** A unit says that it cannot be saved. */
  | 'not-migratable'
  /** The bytes are no snapshot of ours. */
  | 'bad-magic'
  /** Written by a newer Nestvm. */
  | 'newer-version'
  /** The bytes end too early. */
  | 'truncated'
  /** A checksum, size or structure does not hold. */
  | 'corrupt'
  /** The snapshot is of a machine that this one is not. */
  | 'other-machine'
  /** A unit that this machine lacks, or one that the snapshot lacks. */
  | 'other-units'
  /** A unit refused its state. */
  | 'bad-unit'
  /** The other side went away, refused, or did not answer in time. */
  | 'link'
  /** The line broke in the middle of the hand-over: the machine is complete here, and stopped, since the other side may run it. */
  | 'undecided'
  /** Stopped on request. */
  | 'cancelled';

/** Where in a stream something was found. */
export interface Place {
  /** Byte offset in the stream. */
  readonly offset?: number | undefined;
  /** Path name of the unit. */
  readonly unit?: string | undefined;
}

/** The error of `@nestvm/migration`; its message says what, where and what to do. */
export class MigrationError extends Error {
  override readonly name: string = 'MigrationError';
  readonly offset: number | undefined;
  readonly unit: string | undefined;

  constructor(
    readonly code: MigrationErrorCode,
    message: string,
    place: Place = {},
  ) {
    super(`migration: ${message}`);
    this.offset = place.offset;
    this.unit = place.unit;
  }
}

/**
 * The refusal: an L2 is active, so this machine can't be saved, loaded or migrated until the L2 shuts down. Nothing was written, nothing was changed.
 * `contexts` are those that count as active, each with what would clear it.
 */
export class L2ActiveError extends MigrationError {
  override readonly name = 'L2ActiveError';
  readonly contexts: readonly NestedContextReport[];

  constructor(
    readonly operation: string,
    contexts: readonly NestedContextReport[],
  ) {
    const active = contexts.filter(isActive);
    const plural = active.length === 1 ? 'a nested guest (L2) is' : `${active.length} nested guests (L2) are`;
    super(
      'L2_ACTIVE',
      `cannot ${operation}: ${plural} active. Shut L2 down in its hypervisor, then try again.\n${active.map((context) => `  ${formatContext(context)}`).join('\n')}`,
    );
    this.contexts = active;
  }
}
