import { nearestName } from '@nestvm/isa/models';
import { UsageError } from '../errors.js';

/** A QEMU property list: `first,key=value,flag`; a doubled comma stands for one. */
export interface Properties {
  /** The part before the first comma when it has no `=`. */
  readonly head: string;
  readonly values: ReadonlyMap<string, string>;
}

/** Splits at single commas; `,,` becomes a comma. */
export const splitCommas = (text: string): string[] =>
  text
    .replaceAll(',,', '\0')
    .split(',')
    .map((part) => part.replaceAll('\0', ','));

/** Parses a property list; `implied` names the key of a leading value without `=`. */
export function parseProperties(text: string): Properties {
  const values = new Map<string, string>();
  let head = '';
  splitCommas(text).forEach((part, i) => {
    const at = part.indexOf('=');
    if (at < 0 && i === 0) head = part;
    else if (at < 0) values.set(part, 'on');
    else values.set(part.slice(0, at), part.slice(at + 1));
  });
  return { head, values };
}

/** A QEMU property list, or the same as a JSON object, as programs write it; throws `UsageError`. */
export function parsePropertiesOrJson(option: string, text: string): Properties {
  if (!text.trimStart().startsWith('{')) return parseProperties(text);
  let object: unknown;
  try {
    object = JSON.parse(text);
  } catch (error) {
    throw new UsageError(`${option} ${text}: no JSON: ${(error as Error).message}`);
  }
  const values = new Map<string, string>();
  for (const [key, value] of Object.entries(object as object)) {
    if (typeof value === 'boolean') values.set(key, value ? 'on' : 'off');
    else if (typeof value === 'string' || typeof value === 'number') values.set(key, String(value));
    else throw new UsageError(`${option} ${text}: '${key}' is neither a text, a number nor true or false`);
  }
  return { head: '', values };
}

/** Throws unless every key is one of `known`; the message names the nearest. */
export function assertKeys(option: string, values: ReadonlyMap<string, string>, known: readonly string[]): void {
  for (const key of values.keys()) {
    if (known.includes(key)) continue;
    const near = nearestName(key, known);
    throw new UsageError(`${option}: no such property '${key}'; ${near ? `the nearest is '${near}'` : `there are ${known.join(', ') || 'none'}`}`);
  }
}

/** on/off as people write it. */
export function parseSwitch(option: string, value: string): boolean {
  if (/^(on|yes|true)$/.test(value)) return true;
  if (/^(off|no|false)$/.test(value)) return false;
  throw new UsageError(`${option}: '${value}' is neither on nor off`);
}

/** A whole number, decimal or 0x…, within bounds. */
export function parseInteger(option: string, value: string, low: number, high: number): number {
  const number = /^(0x[0-9a-f]+|\d+)$/i.test(value) ? Number(value) : NaN;
  if (number >= low && number <= high) return number;
  throw new UsageError(`${option}: '${value}' is not a whole number between ${low} and ${high}`);
}

/** When firmware tries a device: the lower the sooner; undefined for QEMU's -1, which is not at all. */
export const parseBootIndex = (option: string, value: string): number | undefined =>
  value === '-1' ? undefined : parseInteger(`${option},bootindex`, value, 0, 0xffff);

const UNITS: Readonly<Record<string, number>> = { b: 1, k: 2 ** 10, m: 2 ** 20, g: 2 ** 30, t: 2 ** 40 };

/** A size in bytes with an optional suffix b k M G T; a plain number counts `unit` bytes. */
export function parseSize(option: string, value: string, unit = 2 ** 20): number {
  const match = /^(\d+(?:\.\d+)?)([bkmgt])?(?:i?b)?$/i.exec(value);
  if (!match) throw new UsageError(`${option}: '${value}' is not a size; write 512M or 1G`);
  const bytes = Number(match[1]) * (match[2] ? UNITS[match[2].toLowerCase()]! : unit);
  if (Number.isSafeInteger(bytes)) return bytes;
  throw new UsageError(`${option}: '${value}' is not a whole number of bytes; write 512M or 1G`);
}
