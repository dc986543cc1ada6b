/** Codes of {@link BootError}. */
export type BootErrorCode =
  /** The file ends before what its headers promise. */
  | 'truncated'
  /** None of the formats that Nestvm loads. */
  | 'not-a-kernel'
  /** A known format in a form that cannot be started here. */
  | 'unsupported'
  /** The entry point that was asked for, or that the CPU needs, is absent. */
  | 'entry-missing'
  /** The image or what it asks for does not fit into guest memory. */
  | 'too-little-memory'
  | 'initrd-too-large'
  | 'command-line-too-long'
  /** A header contradicts itself. */
  | 'bad-header'
  /** Tables that do not fit into the firmware area. */
  | 'tables-too-large';

/** A kernel, initrd or table that cannot be loaded; the message is one line: what, where, and what to do. */
export class BootError extends Error {
  override readonly name = 'BootError';
  constructor(
    readonly code: BootErrorCode,
    message: string,
  ) {
    super(message);
  }
}
