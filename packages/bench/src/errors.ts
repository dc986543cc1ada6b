/** Why a benchmark run is worth nothing. */
export type BenchErrorCode = 'checksum' | 'guest-failed' | 'no-browser' | 'no-guest';

/** A benchmark run that cannot be reported. */
export class BenchError extends Error {
  override readonly name = 'BenchError';
  readonly code: BenchErrorCode;

  constructor(code: BenchErrorCode, message: string) {
    super(message);
    this.code = code;
  }
}
