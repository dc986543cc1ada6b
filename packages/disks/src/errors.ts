/** Why an image cannot be opened or used. */
export type DiskErrorCode =
  /** The file ends before something that the image says it holds. */
  | 'truncated'
  /** The image contradicts itself or its format. */
  | 'bad-image'
  /** The image is sound but uses what is not supported here. */
  | 'unsupported'
  /** A backing file is its own ancestor, or the chain is too long. */
  | 'cyclic'
  /** A write to what may only be read. */
  | 'read-only'
  /** An access past the end of the disk. */
  | 'out-of-range'
  /** A web server does not give the file. */
  | 'unreachable'
  /** A web server gives whole files only. */
  | 'no-ranges'
  /** The file on a web server is another one by now. */
  | 'changed'
  /** An option that makes no sense. */
  | 'bad-option';

/** What this package throws: `code` says which kind; the message says what, where and what to do. */
export class DiskError extends Error {
  override readonly name = 'DiskError';

  constructor(
    readonly code: DiskErrorCode,
    message: string,
  ) {
    super(message);
  }
}
