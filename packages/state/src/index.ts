/**
 * One declaration of a struct: offsets in linear memory, typed views, snapshot schema; the container format.
 *
 * @packageDocumentation
 */
export { array, bytes, derived, elementBytes, struct, u16, u32, u64, u8 } from './struct.js';
export type { Field, FieldType, Struct } from './struct.js';
