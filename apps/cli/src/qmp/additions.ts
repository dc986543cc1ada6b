import type { MonitorTarget } from '../monitor/target.js';
import { type QmpArguments, textOf } from './arguments.js';
import { QmpError } from './errors.js';

const isObject = (value: unknown): value is Record<string, unknown> => typeof value === 'object' && value !== null && !Array.isArray(value);

function objectOf(given: QmpArguments, name: string): QmpArguments {
  const value = given[name];
  if (value === undefined) throw new QmpError('GenericError', `Parameter '${name}' is missing`);
  if (!isObject(value)) throw new QmpError('GenericError', `Invalid parameter type for '${name}', expected: object`);
  return value;
}

/** A value as the command line has it. */
function wordOf(name: string, value: unknown): string {
  if (typeof value === 'boolean') return value ? 'on' : 'off';
  if (typeof value === 'string' || typeof value === 'number') return String(value).replaceAll(',', ',,');
  throw new QmpError('GenericError', `Invalid parameter type for '${name}', expected: a text, a number or a boolean`);
}

const words = (values: QmpArguments): string =>
  Object.entries(values)
    .flatMap(([name, value]) =>
      value === undefined
        ? []
        : // Lists of rules come as [{"str": RULE}, …].
          (Array.isArray(value) ? value.map((item: unknown) => (isObject(item) ? item['str'] : item)) : [value]).map(
            (each) => `,${name}=${wordOf(name, each)}`,
          ),
    )
    .join('');

/** `netdev_add`. */
export function addNetwork(target: MonitorTarget, given: QmpArguments): Promise<void> {
  const { type: _type, ...rest } = given;
  textOf(given, 'id');
  return target.additions.addNetwork(`${textOf(given, 'type')}${words(rest)}`);
}

/** `object-add`. */
export function addObject(target: MonitorTarget, given: QmpArguments): void {
  const { 'qom-type': _type, ...rest } = given;
  textOf(given, 'id');
  target.additions.addObject(`${textOf(given, 'qom-type')}${words(rest)}`);
}

/** Where a socket of `chardev-add` is. */
function socketPlace(data: QmpArguments): QmpArguments {
  const address = objectOf(data, 'addr');
  const place = objectOf(address, 'data');
  const type = textOf(address, 'type');
  if (type === 'unix') return { path: textOf(place, 'path') };
  if (type === 'inet') return { host: textOf(place, 'host'), port: textOf(place, 'port') };
  throw new QmpError('GenericError', `addr: type '${type}': there are inet and unix`);
}

/** The words of `-chardev` for a backend. */
function backendWords(type: string, data: QmpArguments): string {
  switch (type) {
    case 'file':
      return words({ path: textOf(data, 'out'), append: data['append'] });
    case 'socket': {
      const server = data['server'] ?? true;
      return words({ ...socketPlace(data), server, ...(server === true ? { wait: data['wait'] ?? false } : {}) });
    }
    default:
      return '';
  }
}

/** `chardev-add`. */
export async function addCharacter(target: MonitorTarget, given: QmpArguments): Promise<unknown> {
  const backend = objectOf(given, 'backend');
  const type = textOf(backend, 'type');
  const data = type === 'null' || type === 'pty' ? {} : objectOf(backend, 'data');
  const pty = await target.additions.addCharacter(`${type},id=${wordOf('id', textOf(given, 'id'))}${backendWords(type, data)}`);
  return pty === undefined ? {} : { pty };
}

/** `set_link`. */
export function setLink(target: MonitorTarget, given: QmpArguments): void {
  if (typeof given['up'] !== 'boolean') throw new QmpError('GenericError', "Invalid parameter type for 'up', expected: boolean");
  target.additions.setLink(textOf(given, 'name'), given['up']);
}
