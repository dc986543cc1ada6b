import { randomUUID } from 'node:crypto';
import type { Link, SourceRecovery, TargetRecovery } from '@nestvm/migration';
import type { Door } from './door.js';
import { inTime } from './in-time.js';
import type { Place } from './transport.js';

/** Longest that one try to reach the target again may take. */
const TRY_MS = 10_000;

/** How the source comes back over the line that `open` opens; an inherited descriptor can't be opened again. */
export function recoverSource(
  place: Place,
  open: (signal: AbortSignal) => Promise<Link>,
  more: Omit<SourceRecovery, 'session' | 'reconnect'>,
): SourceRecovery | undefined {
  if (place.kind === 'fd') return undefined;
  return { session: randomUUID(), reconnect: () => inTime(open, TRY_MS), ...more };
}

/** How the target takes its source in again. */
export function recoverTarget(door: Door<Link>, more: Omit<TargetRecovery, 'again'>): TargetRecovery {
  const again = async (): Promise<Link> => {
    for (;;) {
      try {
        return await door.next();
      } catch {
        // A handshake that failed: somebody else has come, or the line broke once more.
      }
    }
  };
  return { again, close: () => door.close(), ...more };
}
