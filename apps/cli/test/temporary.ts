import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll } from 'vitest';

/** Names of sockets have at most 107 bytes: a folder whose own name is long leaves no room for theirs. */
const LONGEST = 60;
const place = tmpdir().length > LONGEST && existsSync('/tmp') ? '/tmp' : tmpdir();
const made: string[] = [];

afterAll(() => {
  // A process that was just killed may still be making a file.
  for (const folder of made.splice(0)) rmSync(folder, { recursive: true, force: true, maxRetries: 50, retryDelay: 20 });
});

/** A new folder, which is gone when the tests of the file are over. */
export function temporaryFolder(name: string): string {
  const folder = mkdtempSync(join(place, `nestvm-${name}-`));
  made.push(folder);
  return folder;
}
