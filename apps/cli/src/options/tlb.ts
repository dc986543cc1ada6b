import { UsageError } from '../errors.js';
import { assertKeys, parseInteger, parseProperties } from './text.js';

/** Debugging of address translation. */
export interface TlbSpec {
  /** Forget translations at random, from this seed. */
  readonly evictSeed?: number;
  /** Compare every use of a translation with a fresh walk, and print stale ones. */
  readonly sanitize: boolean;
}

/** Parses `--tlb evict=SEED`, `--tlb sanitize`, or both with a comma; throws `UsageError`. */
export function parseTlb(text: string | undefined): TlbSpec | undefined {
  if (text === undefined) return undefined;
  const { head, values } = parseProperties(text);
  if (head !== '' && head !== 'sanitize') throw new UsageError(`--tlb ${head}: no such mode; write evict=SEED, sanitize, or evict=SEED,sanitize`);
  assertKeys('--tlb', values, ['evict', 'sanitize']);
  const seed = values.get('evict');
  return {
    sanitize: head === 'sanitize' || values.has('sanitize'),
    ...(seed === undefined ? {} : { evictSeed: parseInteger('--tlb evict', seed, 0, 0xffffffff) }),
  };
}
