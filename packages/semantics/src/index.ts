/**
 * What each instruction means, as emitters.
 *
 * @packageDocumentation
 */
export { Context, Vector } from './context.js';
export type { Emitter, Meanings } from './emitter.js';
export type { Engine, Place } from './context.js';
export type { Facts } from './facts.js';
export type { Fields } from './fields.js';
export { Flags } from './flags.js';
export type { FlagHome, FlagValues } from './flags.js';
export { generalMeanings } from './general/index.js';
export { meanings } from './meanings.js';
export { alu, instruction, operandsOf, widen } from './instruction.js';
export { integerOperand, operandWidth } from './operand.js';
export type { Operand } from './operand.js';
export { explainInstruction } from './explain.js';
export { systemMeanings } from './system/index.js';
export { vectorMeanings } from './vector/index.js';
export { SemanticsError } from './errors.js';
export type { SemanticsErrorCode } from './errors.js';
