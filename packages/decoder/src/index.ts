/**
 * Bytes to Instruction; decoder/format: Intel and AT&T text.
 *
 * @packageDocumentation
 */
export { decodeInto } from './decode.js';
export { DecodeStatus } from './status.js';
export { Instruction, NO_REGISTER, Prefix, RIP_REGISTER } from './instruction.js';
export { DecoderError } from './errors.js';
export { operandBits } from './width.js';
