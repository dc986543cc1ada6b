/**
 * Bytes to Instruction; decoder/format: Intel and AT&T text.
 *
 * @packageDocumentation
 */
export { Instruction, NO_REGISTER, Prefix, RIP_REGISTER } from './instruction.js';
