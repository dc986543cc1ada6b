/** Reasons of a {@link CpuError}. */
export type CpuErrorCode = 'duplicate-msr' | 'unknown-state-field' | 'bad-option' | 'no-virtualization' | 'bad-state';

/** Misuse of this package's API; never thrown because of what a guest does. */
export class CpuError extends Error {
  readonly code: CpuErrorCode;
  constructor(code: CpuErrorCode, message: string) {
    super(message);
    this.name = 'CpuError';
    this.code = code;
  }
}
