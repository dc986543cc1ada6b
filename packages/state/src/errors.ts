/** What went wrong: saved data that does not fit the declaration, or a struct that lies outside or across its memory. */
export type StateErrorCode = 'bad-state' | 'bad-base';

/** The one error of `@nestvm/state`; its message says what, where and what to do. */
export class StateError extends Error {
  override readonly name = 'StateError';

  constructor(
    readonly code: StateErrorCode,
    message: string,
  ) {
    super(message);
  }
}
