/** What can go wrong in `@nestvm/devices`; see the README's table. */
export type DeviceErrorCode = 'bad-state' | 'bad-option' | 'unknown-line' | 'no-space' | 'duplicate';

/** Misuse of a device by its host: never thrown for anything a guest does. */
export class DeviceError extends Error {
  override readonly name = 'DeviceError';

  constructor(
    readonly code: DeviceErrorCode,
    message: string,
  ) {
    super(message);
  }
}
