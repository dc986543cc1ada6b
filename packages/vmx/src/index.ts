/**
 * Intel VMX, as an extension of cpu.
 *
 * @packageDocumentation
 */
export { VmxError } from './errors.js';
export type { VmxErrorCode } from './errors.js';
