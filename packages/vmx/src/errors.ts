/** What went wrong: an unknown field name or encoding, a table that contradicts itself, or an option that makes no sense. */
export type VmxErrorCode = 'unknown-field' | 'bad-table' | 'bad-option';

/** The one error of `@nestvm/vmx`; architectural failures are values, never errors. */
export class VmxError extends Error {
  override readonly name = 'VmxError';

  constructor(
    readonly code: VmxErrorCode,
    message: string,
  ) {
    super(message);
  }
}
