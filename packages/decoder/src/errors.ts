/** Misuse of the decoder, or contradicting opcode rows. */
export class DecoderError extends Error {
  constructor(
    readonly code: 'ambiguous-rows' | 'unknown-operand',
    message: string,
  ) {
    super(message);
    this.name = 'DecoderError';
  }
}
