import { StateError } from './errors.js';
import type { Field, FieldType, Struct } from './struct.js';
import { elementBytes } from './struct.js';

/** Elements of a field of several. `u64` elements are `bigint`, the others numbers; values are cut to the width. */
export interface ElementsView<V> {
  readonly length: number;
  get(index: number): V;
  set(index: number, value: V): void;
}

/** TypeScript's idea of one element. */
export type ElementValue<T extends FieldType> = T extends 'u64' ? bigint : number;

/** What a field looks like in a view: a property, elements, or the raw bytes in place. */
export type FieldView<F> =
  F extends Field<infer T, infer S> ? (S extends 'scalar' ? ElementValue<T> : S extends 'array' ? ElementsView<ElementValue<T>> : Uint8Array) : never;

/** A struct seen through its field names: reading and assigning go straight to memory. For cold code; hot code uses the offsets. */
export type StructView<F> = { -readonly [K in keyof F]: FieldView<F[K]> };

type Access = { get(at: number): number | bigint; set(at: number, value: number | bigint): void };

function accessOf(type: FieldType, view: DataView): Access {
  switch (type) {
    case 'u16':
      return { get: (at) => view.getUint16(at, true), set: (at, value) => view.setUint16(at, Number(value), true) };
    case 'u32':
      return { get: (at) => view.getUint32(at, true), set: (at, value) => view.setUint32(at, Number(value), true) };
    case 'u64':
      return { get: (at) => view.getBigUint64(at, true), set: (at, value) => view.setBigUint64(at, BigInt(value), true) };
    default:
      return { get: (at) => view.getUint8(at), set: (at, value) => view.setUint8(at, Number(value)) };
  }
}

function assertBase(struct: Struct<Record<string, Field>>, buffer: ArrayBufferLike, base: number): void {
  if (Number.isSafeInteger(base) && base >= 0 && base % 16 === 0 && base + struct.size <= buffer.byteLength) return;
  throw new StateError(
    'bad-base',
    `struct '${struct.name}': ${struct.size} bytes at ${base} do not fit in memory of ${buffer.byteLength} bytes; give a multiple of 16 inside it`,
  );
}

function property(field: Field, view: DataView, at: number): PropertyDescriptor {
  const access = accessOf(field.type, view);
  if (field.shape === 'scalar') return { enumerable: true, get: () => access.get(at), set: (value: number | bigint) => access.set(at, value) };
  if (field.shape === 'bytes') return { enumerable: true, value: new Uint8Array(view.buffer, at, field.count) };
  const width = elementBytes(field.type);
  const position = (index: number): number => {
    if (!(index >= 0 && index < field.count)) throw new RangeError(`element ${index} of ${field.count}`);
    return at + index * width;
  };
  const elements: ElementsView<number | bigint> = {
    length: field.count,
    get: (index) => access.get(position(index)),
    set: (index, value) => access.set(position(index), value),
  };
  return { enumerable: true, value: elements };
}

/** A view of the struct that lies at byte `base` of `buffer`; throws `StateError` (`bad-base`). */
export function viewStruct<F extends Record<string, Field>>(struct: Struct<F>, buffer: ArrayBufferLike, base: number): StructView<F> {
  assertBase(struct, buffer, base);
  const view = new DataView(buffer);
  const result = {};
  for (const [name, field] of Object.entries(struct.fields)) Object.defineProperty(result, name, property(field, view, base + struct.offset[name]!));
  return Object.seal(result) as StructView<F>;
}
