/** What can go wrong while assembling. */
export type AssemblerErrorCode =
  | 'unknown-mnemonic'
  | 'no-such-form'
  | 'ambiguous-size'
  | 'bad-operand'
  | 'bad-text'
  | 'unknown-label'
  | 'duplicate-label'
  | 'out-of-range'
  | 'does-not-settle';

/** Every error that this package throws. The message says what, where, and what to do. */
export class AssemblerError extends Error {
  override readonly name = 'AssemblerError';

  constructor(
    readonly code: AssemblerErrorCode,
    message: string,
  ) {
    super(message);
  }
}
