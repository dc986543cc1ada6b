import type { Witness } from './link.js';
import type { SourceRecovery } from './reclaim.js';

/** Host time, as the caller has it. */
export interface MigrationClock {
  nowMs(): number;
  sleep(milliseconds: number): Promise<void>;
}

/** How a migration is going, as `info migrate` shows it. */
export interface MigrationStatus {
  readonly phase: 'setup' | 'pre-copy' | 'hand-over' | 'waiting' | 'completed' | 'failed' | 'cancelled';
  /** Passes over the memory so far; the first one sends all of it. */
  readonly passes: number;
  readonly transferredBytes: number;
  readonly remainingBytes: number;
  readonly totalBytes: number;
  /** Pages sent so far, each as often as it was; and pages that needed no content, since they are clear. */
  readonly sentPages: number;
  readonly clearPages: number;
  /** Share of its time that the guest is held back at present, 0 to 0.99. */
  readonly throttle: number;
  readonly elapsedMs: number;
  /** Bytes a second, over the whole time. */
  readonly throughput: number;
  /** Bytes that the guest has dirtied in a second, in the last pass. */
  readonly dirtyRate: number;
  readonly expectedDowntimeMs: number;
  /** Time from the stop of the source until the target ran; set when completed. */
  readonly downtimeMs: number | null;
}

/** Options of {@link migrateOut}. */
export interface MigrateOptions {
  readonly clock: MigrationClock;
  /** Stop for the last pass when it takes at most this long (default 100). */
  readonly downtimeLimitMs?: number;
  /** Bytes a second at most; default: no limit. */
  readonly bandwidth?: number;
  readonly compression?: 'deflate' | 'none';
  /** Passes until the guest is stopped although it dirties memory faster than the line takes it (default 30). */
  readonly maxPasses?: number;
  /** Slows the guest down, 0 (not) to 0.99 of its time; used when it dirties memory faster than the line takes it. */
  readonly throttle?: (share: number) => void;
  /** By how much: the first share, what is added with each pass that does not help, and the most (default 0.2, 0.1, 0.99). */
  readonly throttleSteps?: { readonly initial: number; readonly increment: number; readonly most: number };
  /** Asked when the machine has been given away: whether it stood still before, as it then does at the target, too. Default: it ran. */
  readonly isStopped?: () => boolean;
  readonly onStatus?: (status: MigrationStatus) => void;
  /** Whether the target's process lives, should the line break behind the hand-over. Default: nobody knows. */
  readonly witness?: Witness;
  /** How to find the target again when the line breaks in the hand-over. Default: not at all. */
  readonly recovery?: SourceRecovery;
  /** Called when the machine has been stopped, before the rest of it is sent: to keep a snapshot of it. */
  readonly onStopped?: () => Promise<void>;
  readonly signal?: AbortSignal;
}
