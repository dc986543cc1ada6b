/** Classes of QMP errors: those of QEMU, and one of ours for what nested guests forbid. */
export type QmpErrorClass = 'GenericError' | 'CommandNotFound' | 'DeviceNotFound' | 'DeviceNotActive' | 'L2Active';

/** A command's failure as its client sees it. */
export class QmpError extends Error {
  override readonly name = 'QmpError';

  constructor(
    readonly code: QmpErrorClass,
    message: string,
    /** More for programs. */
    readonly data?: unknown,
  ) {
    super(message);
  }
}
