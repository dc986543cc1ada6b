/**
 * Platform devices and virtio, as subpath exports.
 *
 * @packageDocumentation
 */
export { DeviceError } from './errors.js';
export type { DeviceErrorCode } from './errors.js';
export type { SavableDevice } from './saved-state.js';
