/** Codes of {@link MachineError}. */
export type MachineErrorCode = 'bad-option' | 'bad-state' | 'nesting-off' | 'nothing-to-run' | 'too-much-memory';

/** A configuration that no machine can be made from; the message says what, where, and what to do. */
export class MachineError extends Error {
  override readonly name = 'MachineError';
  constructor(
    readonly code: MachineErrorCode,
    message: string,
  ) {
    super(message);
  }
}
