import { L2ActiveError, MigrationError } from '@nestvm/migration';
import { UsageError } from '../errors.js';

/** Status of a process that was refused because an L2 is active. */
const L2_ACTIVE_STATUS = 3;

/** Says which file cannot be loaded. */
export async function ofFile(name: string, load: () => Promise<unknown>): Promise<void> {
  try {
    await load();
  } catch (error) {
    if (!(error instanceof MigrationError) || error instanceof L2ActiveError) throw error;
    const { code, offset, unit } = error;
    throw new MigrationError(code, `${name}: ${error.message.replace(/^migration: /, '')}`, {
      ...(offset === undefined ? {} : { offset }),
      ...(unit === undefined ? {} : { unit }),
    });
  }
}

/** The message of a failure for people, and the status of a process that ends with it; undefined for what is not one of ours. */
export function explainFailure(error: unknown): { readonly message: string; readonly status: number } | undefined {
  if (error instanceof L2ActiveError) return { message: error.message.replace(/^migration: /, ''), status: L2_ACTIVE_STATUS };
  if (error instanceof MigrationError) return { message: error.message.replace(/^migration: /, ''), status: 1 };
  if (error instanceof UsageError) return { message: error.message, status: 2 };
  return undefined;
}

/** The message of any failure: what is not one of ours is called an internal error, so that it is seen as the bug that it is. */
export const messageOf = (error: unknown): string =>
  explainFailure(error)?.message ?? `internal error: ${(error instanceof Error ? error.message : String(error)).split('\n')[0]}`;
