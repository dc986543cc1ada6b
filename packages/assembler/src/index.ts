/**
 * Calls and text to bytes.
 *
 * @packageDocumentation
 */
export {};
