/**
 * Encode WebAssembly modules.
 *
 * @packageDocumentation
 */
export {};
