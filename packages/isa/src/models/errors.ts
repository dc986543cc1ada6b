/** Codes of {@link CpuModelError}. */
export type CpuModelErrorCode = 'unknown-model' | 'unknown-feature' | 'bad-value' | 'bad-topology' | 'nesting-off';

/** A `-cpu` text that cannot be followed; the message says what, where, and what to write instead. */
export class CpuModelError extends Error {
  override readonly name = 'CpuModelError';
  constructor(
    readonly code: CpuModelErrorCode,
    message: string,
  ) {
    super(message);
  }
}
