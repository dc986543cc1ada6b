/** What can be wrong with code that is being written. */
export type EmitErrorCode = 'bad-constant' | 'unknown-instruction' | 'type-mismatch' | 'no-result' | 'unresolved' | 'duplicate';

/** A mistake in an emitter: the message says which instruction or function, and what was expected. */
export class EmitError extends Error {
  constructor(
    readonly code: EmitErrorCode,
    message: string,
  ) {
    super(message);
    this.name = 'EmitError';
  }
}
