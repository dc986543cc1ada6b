/**
 * One declaration of a struct: offsets in linear memory, typed views, snapshot schema; the container format.
 *
 * @packageDocumentation
 */
export { array, bytes, derived, elementBytes, struct, u16, u32, u64, u8 } from './struct.js';
export type { Field, FieldShape, FieldType, Struct } from './struct.js';
export { viewStruct } from './view.js';
export type { ElementsView, ElementValue, FieldView, StructView } from './view.js';
export { loadStruct, saveStruct } from './snapshot.js';
export type { SavedStruct, SavedValue } from './snapshot.js';
export { nonMigratable, stateful, stateless, structState } from './migratable.js';
export type { Migratable, NonMigratable, Stateful, StatefulOptions, Stateless } from './migratable.js';
export { HeldBlocks } from './held-blocks.js';
export { StateError } from './errors.js';
export type { StateErrorCode } from './errors.js';
