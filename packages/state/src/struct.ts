/**
 * One declaration of a struct in linear memory: names, widths, counts.
 * Everything else (offsets, typed access, snapshot schema) is derived from it.
 */

/** A field's element type. `bytes` is opaque storage with an alignment of 16. */
export type FieldType = 'u8' | 'u16' | 'u32' | 'u64' | 'bytes';

/** How a field is read: one element, several, or raw bytes. */
export type FieldShape = 'scalar' | 'array' | 'bytes';

/** One field: an element type, a count (1 for a scalar), and whether a snapshot keeps it. */
export interface Field<T extends FieldType = FieldType, S extends FieldShape = FieldShape> {
  readonly type: T;
  readonly shape: S;
  readonly count: number;
  /** `derived` fields are caches: not saved, rebuilt after load. */
  readonly derived: boolean;
}

const WIDTH: Record<FieldType, number> = { u8: 1, u16: 2, u32: 4, u64: 8, bytes: 1 };
const ALIGNMENT: Record<FieldType, number> = { u8: 1, u16: 2, u32: 4, u64: 8, bytes: 16 };

const scalar = <T extends FieldType>(type: T): Field<T, 'scalar'> => ({ type, shape: 'scalar', count: 1, derived: false });

/** An unsigned 8-bit field. */
export const u8: Field<'u8', 'scalar'> = scalar('u8');
/** An unsigned 16-bit field. */
export const u16: Field<'u16', 'scalar'> = scalar('u16');
/** An unsigned 32-bit field. */
export const u32: Field<'u32', 'scalar'> = scalar('u32');
/** An unsigned 64-bit field. */
export const u64: Field<'u64', 'scalar'> = scalar('u64');
/** `length` bytes of opaque storage, 16-byte aligned. */
export const bytes = (length: number): Field<'bytes', 'bytes'> => ({ type: 'bytes', shape: 'bytes', count: length, derived: false });
/** `count` consecutive elements of a scalar field. */
export const array = <T extends Exclude<FieldType, 'bytes'>>(field: Field<T, 'scalar'>, count: number): Field<T, 'array'> => ({
  ...field,
  shape: 'array',
  count,
});
/** A cache: given room in the struct, but neither saved nor loaded. */
export const derived = <T extends FieldType, S extends FieldShape>(field: Field<T, S>): Field<T, S> => ({ ...field, derived: true });

/** A laid-out struct: byte offsets by field name, total size, and the declaration itself. */
export interface Struct<F extends Record<string, Field>> {
  readonly name: string;
  /** Snapshot schema version. */
  readonly version: number;
  readonly fields: F;
  /** Byte offset of each field from the struct's base. */
  readonly offset: { readonly [K in keyof F]: number };
  /** Size in bytes, a multiple of 16. */
  readonly size: number;
}

const alignUp = (value: number, alignment: number): number => Math.ceil(value / alignment) * alignment;

/** Lays out `fields` in declaration order with natural alignment. */
export function struct<const F extends Record<string, Field>>(name: string, version: number, fields: F): Struct<F> {
  const offset: Record<string, number> = {};
  let end = 0;
  for (const [key, field] of Object.entries(fields)) {
    end = alignUp(end, ALIGNMENT[field.type]);
    offset[key] = end;
    end += WIDTH[field.type] * field.count;
  }
  // A copy: an object that grew key by key is a hash table in V8, which hot code would search at each look.
  return { name, version, fields, offset: { ...offset } as Struct<F>['offset'], size: alignUp(end, 16) };
}

/** Size in bytes of one element of a field type. */
export const elementBytes = (type: FieldType): number => WIDTH[type];
