import { StateError } from './errors.js';
import type { Field, FieldType, Struct } from './struct.js';
import type { ElementsView } from './view.js';
import { viewStruct } from './view.js';

/** Data that a snapshot can hold: plain, and free of anything that refers to a running machine. */
export type SavedValue = null | boolean | number | bigint | string | Uint8Array | readonly SavedValue[] | { readonly [name: string]: SavedValue };

/** A saved struct: every field that is not derived, by name. */
export interface SavedStruct {
  readonly [name: string]: SavedValue;
}

const LIMIT: Record<Exclude<FieldType, 'u64' | 'bytes'>, number> = { u8: 0xff, u16: 0xffff, u32: 0xffff_ffff };

/** The fields of the struct at `base` that are not derived, copied out. */
export function saveStruct(struct: Struct<Record<string, Field>>, buffer: ArrayBufferLike, base: number): SavedStruct {
  const view = viewStruct(struct, buffer, base) as Record<string, unknown>;
  const saved: Record<string, SavedValue> = {};
  for (const [name, field] of Object.entries(struct.fields)) {
    if (!field.derived) saved[name] = copyOut(field, view[name]);
  }
  return saved;
}

/**
 * Puts saved fields back; derived fields keep what they hold, and their owner rebuilds them. The data is untrusted: a field that is missing,
 * unknown, or of another type or range throws `StateError` (`bad-state`), and memory is left as it was.
 */
export function loadStruct(struct: Struct<Record<string, Field>>, buffer: ArrayBufferLike, base: number, saved: unknown): void {
  const view = viewStruct(struct, buffer, base) as Record<string, unknown>;
  const values = checkStruct(struct, saved);
  for (const [name, field] of Object.entries(struct.fields)) {
    if (field.derived) continue;
    const value = values[name]!;
    if (field.shape === 'scalar') view[name] = value;
    else if (field.shape === 'bytes') (view[name] as Uint8Array).set(value as Uint8Array);
    else (value as readonly (number | bigint)[]).forEach((element, index) => (view[name] as ElementsView<number | bigint>).set(index, element));
  }
}

function copyOut(field: Field, value: unknown): SavedValue {
  if (field.shape === 'scalar') return value as number | bigint;
  if (field.shape === 'bytes') return Uint8Array.from(value as Uint8Array);
  const elements = value as ElementsView<number | bigint>;
  return Array.from({ length: elements.length }, (_, index) => elements.get(index));
}

function checkStruct(struct: Struct<Record<string, Field>>, saved: unknown): SavedStruct {
  if (typeof saved !== 'object' || saved === null || Array.isArray(saved)) throw badState(struct.name, 'an object', saved);
  const values = saved as Record<string, unknown>;
  for (const name of Object.keys(values)) {
    if (!Object.hasOwn(struct.fields, name) || struct.fields[name]!.derived) throw badState(`${struct.name}.${name}`, 'absent', values[name]);
  }
  for (const [name, field] of Object.entries(struct.fields)) {
    if (!field.derived) checkField(`${struct.name}.${name}`, field, Object.hasOwn(values, name) ? values[name] : undefined);
  }
  return values as SavedStruct;
}

function checkField(path: string, field: Field, value: unknown): void {
  if (field.shape === 'scalar') checkElement(path, field.type, value);
  else if (field.shape === 'bytes') {
    if (!(value instanceof Uint8Array) || value.length !== field.count) throw badState(path, `${field.count} bytes`, value);
  } else {
    if (!Array.isArray(value) || value.length !== field.count) throw badState(path, `a list of ${field.count}`, value);
    for (let index = 0; index < value.length; index++) checkElement(`${path}[${index}]`, field.type, value[index]);
  }
}

function checkElement(path: string, type: FieldType, value: unknown): void {
  if (type === 'u64') {
    if (typeof value !== 'bigint' || BigInt.asUintN(64, value) !== value) throw badState(path, 'an unsigned 64-bit bigint', value);
  } else if (type !== 'bytes') {
    if (typeof value !== 'number' || !Number.isInteger(value) || value < 0 || value > LIMIT[type])
      throw badState(path, `an integer from 0 to ${LIMIT[type]}`, value);
  }
}

function badState(path: string, wanted: string, value: unknown): StateError {
  const isSimple = value === null || value === undefined || typeof value === 'number' || typeof value === 'bigint' || typeof value === 'boolean';
  const shown = isSimple ? String(value) : typeof value === 'string' ? 'a string' : 'an object';
  return new StateError('bad-state', `saved state: ${path} must be ${wanted}, not ${shown}; the snapshot is damaged or of another version`);
}
