import { readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import type { KeptCode } from '@nestvm/cpu';

const ENDING = '.code-cache';

/**
 * Code that is kept in files whose names begin with `prefix`, which is another one for each build of the program: only who builds it can tell. Without a prefix nothing is
 * kept. Files that cannot be read or written are done without.
 */
export function createKeptCode(prefix: string | undefined): KeptCode | undefined {
  if (!prefix) return undefined;
  return {
    read: (name) => {
      try {
        return readFileSync(`${prefix}-${name}${ENDING}`);
      } catch {
        return undefined;
      }
    },
    keep: (name, module) => {
      const temporary = `${prefix}-${name}-${process.pid}${ENDING}`;
      try {
        writeFileSync(temporary, module);
        renameSync(temporary, `${prefix}-${name}${ENDING}`);
      } catch {
        rmSync(temporary, { force: true });
      }
    },
  };
}
