/**
 * Bytes to Instruction; decoder/format: Intel and AT&T text.
 *
 * @packageDocumentation
 */
export {};
