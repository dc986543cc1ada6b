/** What can be wrong with the use of this package. */
export type JitErrorCode = 'bad-option';

/** Misuse of `@nestvm/jit`. */
export class JitError extends Error {
  constructor(
    readonly code: JitErrorCode,
    message: string,
  ) {
    super(message);
    this.name = 'JitError';
  }
}

/** Thrown while code is written: an emitter wants what compiled code does not offer. The instruction is left to the interpreter. */
export class NotCompilable extends Error {
  /** Row of the instruction, when it is known. */
  row = -1;
}
