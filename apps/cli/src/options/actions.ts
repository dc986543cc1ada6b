import { UsageError } from '../errors.js';
import type { RawOptions } from './parse.js';
import { assertKeys, parseProperties } from './text.js';

/** Events of `-action`, and what each does when it is said first, or by default. */
const EVENTS: Readonly<Record<string, readonly string[]>> = {
  reboot: ['reset', 'shutdown'],
  shutdown: ['poweroff', 'pause'],
  panic: ['none', 'shutdown', 'pause', 'exit-failure'],
  watchdog: ['reset', 'shutdown', 'poweroff', 'inject-nmi', 'pause', 'debug', 'none'],
};

/** What happens when a guest reboots, and when it powers off: `-action`, `-no-reboot` and `-no-shutdown`. Throws `UsageError`. */
export function parseActions(raw: RawOptions): { readonly reboot: boolean; readonly shutdown: boolean } {
  const chosen = new Map<string, string>();
  for (const text of raw.get('action') ?? []) {
    const { values } = parseProperties(text);
    if (values.size === 0) throw new UsageError(`-action ${text}: write reboot=reset|shutdown or shutdown=poweroff|pause`);
    assertKeys('-action', values, Object.keys(EVENTS));
    for (const [event, action] of values) {
      if (!EVENTS[event]!.includes(action)) throw new UsageError(`-action ${event}=${action}: there are ${EVENTS[event]!.join(', ')}`);
      chosen.set(event, action);
    }
  }
  return {
    reboot: !raw.has('no-reboot') && chosen.get('reboot') !== 'shutdown',
    shutdown: !raw.has('no-shutdown') && chosen.get('shutdown') !== 'pause',
  };
}
