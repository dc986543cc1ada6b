/** What can be wrong with a row and its meaning. */
export type SemanticsErrorCode = 'unknown-operand' | 'read-only-operand' | 'no-meaning';

/** A row and an emitter that do not fit each other: the message says which. */
export class SemanticsError extends Error {
  constructor(
    readonly code: SemanticsErrorCode,
    message: string,
  ) {
    super(message);
    this.name = 'SemanticsError';
  }
}
