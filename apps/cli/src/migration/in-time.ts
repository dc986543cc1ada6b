import { type Link, MigrationError } from '@nestvm/migration';
import { UsageError } from '../errors.js';

/** The line that `open` opens, which may take so long, unless `cancel` comes first; then what is being opened is given up (`signal` of `open`), and what comes late is closed. */
export function inTime(open: (signal: AbortSignal) => Promise<Link>, limitMs: number, cancel?: AbortSignal): Promise<Link> {
  return new Promise((resolve, reject) => {
    const over = new AbortController();
    const end = (error: Error): void => {
      settle();
      over.abort();
      reject(error);
    };
    const onCancel = (): void => end(new MigrationError('cancelled', 'the migration was cancelled'));
    const timer = setTimeout(() => end(new UsageError(`migrate: no line in ${limitMs / 1000} s; is somebody listening there?`)), limitMs);
    const settle = (): void => {
      clearTimeout(timer);
      cancel?.removeEventListener('abort', onCancel);
    };
    cancel?.addEventListener('abort', onCancel, { once: true });
    open(over.signal).then(
      (link) => {
        settle();
        if (over.signal.aborted) link.close();
        else resolve(link);
      },
      (error: unknown) => {
        settle();
        reject(error instanceof Error ? error : new Error(String(error)));
      },
    );
  });
}
