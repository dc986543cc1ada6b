/**
 * Encode WebAssembly modules.
 *
 * @packageDocumentation
 */
export { ByteWriter } from './byte-writer.js';
export { MEMORY, NUMERIC, VALUE_TYPE } from './instructions.js';
export type { MemoryInstruction, NumericInstruction, ValueType } from './instructions.js';
export { ModuleBuilder } from './module-builder.js';
export type { FunctionBody, Signature } from './module-builder.js';
