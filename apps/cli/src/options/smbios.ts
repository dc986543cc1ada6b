import type { SmbiosFacts } from '@nestvm/machine';
import { UsageError } from '../errors.js';
import { last, type RawOptions } from './parse.js';
import { assertKeys, parseInteger, parseProperties, parseSwitch, splitCommas } from './text.js';

/** What the SMBIOS options say; files are still to be read. */
export interface SmbiosSpec {
  readonly facts: SmbiosFacts;
  /** Files with whole structures. */
  readonly files: readonly string[];
}

/** Texts by type of structure: QEMU's names of the fields. */
const TEXTS: Readonly<Record<number, readonly string[]>> = {
  0: ['vendor', 'version', 'date'],
  1: ['manufacturer', 'product', 'version', 'serial', 'sku', 'family'],
  2: ['manufacturer', 'product', 'version', 'serial', 'asset', 'location'],
  3: ['manufacturer', 'version', 'serial', 'asset', 'sku'],
  4: ['sock_pfx', 'manufacturer', 'version', 'serial', 'asset', 'part'],
  11: ['value'],
  17: ['loc_pfx', 'bank', 'manufacturer', 'serial', 'asset', 'part'],
};

type Draft = { -readonly [K in keyof SmbiosFacts]: SmbiosFacts[K] };
type Values = ReadonlyMap<string, string>;

/** Fields that are no texts, by type and name. */
const OTHERS: Readonly<Record<string, (option: string, value: string, draft: Draft) => void>> = {
  '0.release': (option, value, draft) => {
    const [, major, minor] = /^(\d+)\.(\d+)$/.exec(value) ?? [];
    if (major === undefined || minor === undefined) throw new UsageError(`${option}: '${value}' is no release; write 1.2`);
    draft.biosRelease = [parseInteger(option, major, 0, 255), parseInteger(option, minor, 0, 255)];
  },
  '0.uefi': (option, value, draft) => void (draft.uefi = parseSwitch(option, value)),
  '1.uuid': (option, value, draft) => void (draft.uuid = parseUuid(option, value)),
  '4.max-speed': (option, value, draft) => void (draft.maxSpeed = parseInteger(option, value, 0, 0xffff)),
  '4.current-speed': (option, value, draft) => void (draft.currentSpeed = parseInteger(option, value, 0, 0xffff)),
  '17.speed': (option, value, draft) => void (draft.memorySpeed = parseInteger(option, value, 0, 0xffff)),
};

function parseUuid(option: string, text: string): Uint8Array {
  if (!/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i.test(text))
    throw new UsageError(`${option}: '${text}' is no UUID; write 8-4-4-4-12 hexadecimal digits`);
  return Uint8Array.from(text.replaceAll('-', '').match(/../g)!, (pair) => Number.parseInt(pair, 16));
}

function apply(text: string, type: number, values: Values, draft: Draft): void {
  const others = Object.keys(OTHERS).flatMap((name) => (name.startsWith(`${type}.`) ? [name.slice(`${type}.`.length)] : []));
  assertKeys(`-smbios type=${type}`, values, ['type', ...TEXTS[type]!, ...others]);
  const texts: Record<string, string> = { ...draft.texts?.[type] };
  for (const [key, value] of values) {
    if (key === 'type') continue;
    if (others.includes(key)) OTHERS[`${type}.${key}`]!(`-smbios type=${type},${key}`, value, draft);
    else texts[key] = value;
  }
  if (type === 11) {
    const said = splitCommas(text).flatMap((part) => (part.startsWith('value=') ? [part.slice('value='.length)] : []));
    draft.oemStrings = [...(draft.oemStrings ?? []), ...said];
  } else draft.texts = { ...draft.texts, [type]: texts };
}

/** Parses `-smbios` and `-uuid`; throws `UsageError`. */
export function parseSmbios(raw: RawOptions): SmbiosSpec {
  const draft: Draft = {};
  const files: string[] = [];
  const uuid = last(raw, 'uuid');
  if (uuid !== undefined) draft.uuid = parseUuid('-uuid', uuid);
  for (const text of raw.get('smbios') ?? []) {
    const { values } = parseProperties(text);
    const file = values.get('file');
    if (file !== undefined) {
      assertKeys('-smbios file', values, ['file']);
      files.push(file);
      continue;
    }
    const type = values.get('type');
    if (type === undefined || TEXTS[Number(type)] === undefined)
      throw new UsageError(`-smbios ${text}: write file=FILE, or type= with one of ${Object.keys(TEXTS).join(', ')}`);
    apply(text, Number(type), values, draft);
  }
  return { facts: draft, files };
}
