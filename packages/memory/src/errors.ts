/** What went wrong: the arena is too small, or a size, an alignment or a mapping makes no sense. */
export type MemoryErrorCode = 'arena-full' | 'bad-size' | 'bad-mapping';

/** The one error of `@nestvm/memory`; its message says what, where and what to do. */
export class MemoryError extends Error {
  override readonly name = 'MemoryError';

  constructor(
    readonly code: MemoryErrorCode,
    message: string,
  ) {
    super(message);
  }
}
