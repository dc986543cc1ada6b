import { L2ActiveError, MigrationError } from './errors.js';
import type { NestedActivity, NestedContextReport } from './nested-activity.js';
import { isActive } from './nested-activity.js';

/** Options of {@link waitForL2}. */
export interface WaitOptions {
  /** Host milliseconds to wait at most; without it, for ever. */
  readonly timeoutMs?: number;
  /** Called after each look with what is still active. */
  readonly onProgress?: (active: readonly NestedContextReport[], waitedMs: number) => void;
  /** Lets the machine run for about this long, then stops it at an instruction boundary and resolves. */
  readonly runFor: (milliseconds: number) => Promise<void>;
  readonly signal?: AbortSignal;
}

const STEP_MS = 50;

/**
 * Lets a machine run until no L2 is active, so that it can be saved. No time limit ends an L2: when the time is over, this throws
 * {@link L2ActiveError} and the machine stays as it is.
 */
export async function waitForL2(nested: NestedActivity, options: WaitOptions): Promise<void> {
  for (let waitedMs = 0; ; waitedMs += STEP_MS) {
    const active = nested.inspect().filter(isActive);
    if (active.length === 0) return;
    options.onProgress?.(active, waitedMs);
    if (options.signal?.aborted) throw new MigrationError('cancelled', `the wait for ${active.length} active L2 was cancelled`);
    if (options.timeoutMs !== undefined && waitedMs >= options.timeoutMs)
      throw new L2ActiveError(`save this machine within ${options.timeoutMs} ms`, active);
    await options.runFor(STEP_MS);
  }
}
