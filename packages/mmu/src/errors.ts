/** What went wrong: an option of `Mmu` that makes no sense. */
export type MmuErrorCode = 'bad-option';

/** The one error of `@nestvm/mmu`; architectural faults are values, never errors. */
export class MmuError extends Error {
  override readonly name = 'MmuError';

  constructor(
    readonly code: MmuErrorCode,
    message: string,
  ) {
    super(message);
  }
}
