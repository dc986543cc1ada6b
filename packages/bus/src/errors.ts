/** What went wrong: two regions share an address, a region lies outside its space, or a withdrawn region is used again. */
export type BusErrorCode = 'overlap' | 'bad-region' | 'removed';

/** The one error of `@nestvm/bus`; its message says what, where and what to do. */
export class BusError extends Error {
  override readonly name = 'BusError';

  constructor(
    readonly code: BusErrorCode,
    message: string,
  ) {
    super(message);
  }
}
