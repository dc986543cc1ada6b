/**
 * Run-time values (Val) and the backends that consume what is written with them.
 *
 * @packageDocumentation
 */
export { Val } from './val.js';
export type { IntWidth, Same, ValueWriter, Width } from './val.js';
export { Code, LOAD, STORE, Variable, typeOfWidth } from './code.js';
export type { Branch } from './code.js';
export { Kind } from './node.js';
export type { FunctionRef, LookUpForm, Node, Statement } from './node.js';
export { encodeFunction } from './encode.js';
export type { Resolver } from './encode.js';
export { buildModule, defineFunction, importedFunction } from './program.js';
export type { FunctionDefinition, ModuleFrame, WrittenFunction } from './program.js';
export { EmitError } from './errors.js';
export type { EmitErrorCode } from './errors.js';
