import { UsageError } from '../errors.js';
import { parseTlsCredentials, type TlsCredentials } from '../migration/tls.js';
import type { DumpSpec } from './networks.js';
import type { RawOptions } from './parse.js';
import { assertKeys, parseInteger, parsePropertiesOrJson } from './text.js';

/** What an `-object` is. */
export type ObjectSpec =
  | { readonly kind: 'dump'; readonly id: string; readonly dump: DumpSpec }
  | { readonly kind: 'credentials'; readonly id: string; readonly credentials: TlsCredentials }
  /** What says how QEMU is to use its host: here there is nothing to choose. */
  | { readonly kind: 'host'; readonly id: string };

const TYPES = ['filter-dump', 'tls-creds-x509', 'rng-random', 'rng-builtin', 'iothread'];
const HOST = /^(rng-(random|builtin|egd)|iothread)$/;

/** Where an option or a command is about an object of this type. */
const about = (word: string, type: string): string => `${word} ${type}`;

function parseDump(word: string, values: ReadonlyMap<string, string>): DumpSpec {
  const option = about(word, 'filter-dump');
  assertKeys(option, values, ['id', 'netdev', 'file', 'maxlen', 'queue', 'status']);
  const [id, netdev, path] = [values.get('id'), values.get('netdev'), values.get('file')];
  if (!id || !netdev || !path) throw new UsageError(`${option}: write ${option},id=f0,netdev=n0,file=F.pcap`);
  return { id, netdev, path, mostBytes: parseInteger(`${option},maxlen`, values.get('maxlen') ?? '65536', 64, 2 ** 20) };
}

/** Parses one `-object`, or the argument of `object_add`; throws `UsageError`. */
export function parseObject(text: string, word = '-object'): ObjectSpec {
  const { head, values: given } = parsePropertiesOrJson(word, text);
  const { 'qom-type': type = head, ...rest } = Object.fromEntries(given);
  const values = new Map(Object.entries(rest));
  if (type === 'tls-creds-x509') {
    const credentials = parseTlsCredentials([type, ...[...values].map(([key, value]) => `${key}=${value.replaceAll(',', ',,')}`)].join(','));
    return { kind: 'credentials', id: credentials.id, credentials };
  }
  if (type === 'filter-dump') {
    const dump = parseDump(word, values);
    return { kind: 'dump', id: dump.id, dump };
  }
  if (!HOST.test(type)) throw new UsageError(`${about(word, type)}: no such object; there are ${TYPES.join(', ')}`);
  const id = values.get('id');
  if (!id) throw new UsageError(`${about(word, type)}: an id is missing; write ${about(word, type)},id=o0`);
  return { kind: 'host', id };
}

/** Parses every `-object`; throws `UsageError`. */
export function parseObjects(raw: RawOptions): ObjectSpec[] {
  const objects = (raw.get('object') ?? []).map((text) => parseObject(text));
  const twice = objects.find(({ id }, i) => objects.findIndex((each) => each.id === id) !== i);
  if (twice) throw new UsageError(`-object id=${twice.id}: two objects have this name; give one another id`);
  return objects;
}

/** The dumps among them. */
export const dumpsOf = (objects: readonly ObjectSpec[]): DumpSpec[] => objects.flatMap((object) => (object.kind === 'dump' ? [object.dump] : []));
