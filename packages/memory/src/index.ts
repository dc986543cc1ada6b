/**
 * The arena in the one WebAssembly.Memory, the guest-physical map, the dirty log.
 *
 * @packageDocumentation
 */
export {};
