/**
 * Hot guest code as WebAssembly modules.
 *
 * @packageDocumentation
 */
export { attachJit, Jit } from './jit.js';
export type { JitCounters, JitOptions } from './jit.js';
export { JitError } from './errors.js';
export type { JitErrorCode } from './errors.js';
