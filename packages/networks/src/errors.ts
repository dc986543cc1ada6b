/** Why a network cannot be made. */
export type NetworkErrorCode =
  /** An option that makes no sense. */
  | 'bad-option'
  /** The other end does not keep to the protocol. */
  | 'bad-peer';

/** What this package throws: `code` says which kind; the message says what, where and what to do. */
export class NetworkError extends Error {
  override readonly name = 'NetworkError';

  constructor(
    readonly code: NetworkErrorCode,
    message: string,
  ) {
    super(message);
  }
}
