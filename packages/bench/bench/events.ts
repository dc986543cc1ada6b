/** The tests of the category `system`: a guest of our own without an operating system, the same file for both emulators. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { eventNames, eventsImage } from '@nestvm/guests';

/** The names of its tests among these (all without a choice), and the names that are left. */
export function eventsAmong(only: string | undefined): { events: readonly string[] | undefined; others: string | undefined } {
  if (only === undefined) return { events: undefined, others: undefined };
  const names = only.split(',');
  const events = new Set<string>(eventNames);
  return { events: names.filter((name) => events.has(name)), others: names.filter((name) => !events.has(name)).join(',') };
}

/** Hands a machine with that guest to `use`; its file is there until that has ended. The guest halts at the end of its list. */
export async function withEvents<T>(
  divisor: number,
  tests: readonly string[] | undefined,
  use: (machine: readonly string[]) => Promise<T>,
): Promise<T> {
  const folder = mkdtempSync(join(tmpdir(), 'nestvm-bench-'));
  try {
    const file = join(folder, 'events');
    writeFileSync(file, eventsImage({ divisor, ...(tests && { tests }) }).bytes);
    return await use(['-M', 'pc', '-m', '64M', '-kernel', file, '-nodefaults', '-display', 'none', '-serial', 'stdio', '-no-reboot']);
  } finally {
    rmSync(folder, { recursive: true });
  }
}
