/** Misuse of the `isa` tables: an opcode line that cannot be read. */
export class IsaError extends Error {
  constructor(
    readonly code: 'bad-opcode-line',
    message: string,
  ) {
    super(message);
    this.name = 'IsaError';
  }
}
