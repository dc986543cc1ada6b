/** Why a vector file was refused. */
export type VectorErrorCode = 'not-vectors' | 'truncated' | 'version';

/** A vector file that cannot be read. */
export class VectorError extends Error {
  override readonly name = 'VectorError';
  readonly code: VectorErrorCode;

  constructor(code: VectorErrorCode, message: string) {
    super(message);
    this.code = code;
  }
}
