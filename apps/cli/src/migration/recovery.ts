import { randomUUID } from 'node:crypto';
import type { Link, SourceRecovery, TargetRecovery } from '@nestvm/migration';
import type { Door } from './door.js';
import type { Place } from './transport.js';

/** Longest that one try to reach the target again may take. */
const TRY_MS = 10_000;

/** A line, or a failure when it takes too long to be opened. */
function inTime(opening: Promise<Link>): Promise<Link> {
  return new Promise((resolve, reject) => {
    let late = false;
    const timer = setTimeout(() => {
      late = true;
      reject(new Error(`no line in ${TRY_MS / 1000} s`));
    }, TRY_MS);
    opening.then(
      (link) => {
        clearTimeout(timer);
        if (late) link.close();
        else resolve(link);
      },
      (error: unknown) => {
        clearTimeout(timer);
        reject(error instanceof Error ? error : new Error(String(error)));
      },
    );
  });
}

/** How the source comes back over the line that `open` opens; an inherited descriptor can't be opened again. */
export function recoverSource(
  place: Place,
  open: () => Promise<Link>,
  more: Omit<SourceRecovery, 'session' | 'reconnect'>,
): SourceRecovery | undefined {
  if (place.kind === 'fd') return undefined;
  return { session: randomUUID(), reconnect: () => inTime(open()), ...more };
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
