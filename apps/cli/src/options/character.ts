import { nearestName } from '@nestvm/isa/models';
import { UsageError } from '../errors.js';
import { parseAddress, type SocketAddress } from '../migration/socket.js';
import { assertKeys, parseInteger, parseProperties, parseSwitch } from './text.js';

/** Where the bytes of a serial port, console or debug console go, and where they come from. */
export type CharacterSpec =
  | { readonly kind: 'stdio'; readonly monitor: boolean }
  | { readonly kind: 'file'; readonly path: string; readonly append?: boolean }
  | SocketSpec
  | PtySpec
  | { readonly kind: 'null' }
  | { readonly kind: 'none' };

/** A socket that is listened on or connected to; `wait`: nothing runs before somebody has connected. */
export interface SocketSpec {
  readonly kind: 'socket';
  readonly address: SocketAddress;
  readonly server: boolean;
  readonly wait: boolean;
}

/** A pseudo-terminal that is made at the start; `option` asked for it. */
export interface PtySpec {
  readonly kind: 'pty';
  readonly option: string;
}

/** Character devices by their id. */
export type NamedCharacters = ReadonlyMap<string, CharacterSpec>;

/** Parses the argument of -serial or -debugcon. */
export function parseCharacterDevice(option: string, text: string, named: NamedCharacters): CharacterSpec {
  if (text === 'stdio') return { kind: 'stdio', monitor: false };
  if (text === 'mon:stdio') return { kind: 'stdio', monitor: true };
  if (text === 'null' || text === 'none') return { kind: text };
  if (text === 'pty') return { kind: 'pty', option };
  const file = /^file:(.+)$/.exec(text);
  if (file) return { kind: 'file', path: file[1]! };
  const chardev = /^chardev:(.+)$/.exec(text);
  if (chardev) return namedCharacterDevice(option, chardev[1]!, named);
  if (!/^(tcp|unix):/.test(text))
    throw new UsageError(`${option} ${text}: not one of stdio, mon:stdio, pty, file:FILE, tcp:HOST:PORT, unix:PATH, null, none, chardev:ID`);
  const { head, values } = parseProperties(text);
  assertKeys(option, values, SOCKET_KEYS);
  return socketSpec(option, parseAddress(option, head), values, false);
}

/** Parses `-chardev`, to its id and what it is. */
export function parseChardev(text: string): readonly [string, CharacterSpec] {
  const { head, values } = parseProperties(text);
  const id = values.get('id');
  if (id === undefined) throw new UsageError(`-chardev ${text}: an id is missing; write -chardev ${head || 'stdio'},id=NAME`);
  const flag = (key: string): boolean | undefined => (values.has(key) ? parseSwitch(`-chardev ${key}`, values.get(key)!) : undefined);
  switch (head) {
    case 'file': {
      assertKeys('-chardev file', values, ['id', 'path', 'append']);
      const path = values.get('path');
      if (path === undefined) throw new UsageError(`-chardev ${text}: a path is missing; write -chardev file,id=${id},path=FILE`);
      return [id, { kind: 'file', path, ...(flag('append') ? { append: true } : {}) }];
    }
    case 'stdio': {
      assertKeys('-chardev stdio', values, ['id', 'mux', 'signal']);
      const monitor = flag('mux') ?? false;
      if (flag('signal') === monitor)
        throw new UsageError(
          `-chardev ${text}: Ctrl-C ends a run without mux=on and is a key with it; write signal=${monitor ? 'off' : 'on'} or nothing`,
        );
      return [id, { kind: 'stdio', monitor }];
    }
    case 'socket':
      return [id, parseSocket(text, values)];
    case 'pty':
      assertKeys('-chardev pty', values, ['id']);
      return [id, { kind: 'pty', option: '-chardev' }];
    case 'null':
      assertKeys('-chardev null', values, ['id']);
      return [id, { kind: 'null' }];
    default:
      throw unknownCharacterDevice(head);
  }
}

/** Parses every `-chardev`; throws `UsageError`. */
export function parseChardevs(texts: readonly string[]): Map<string, CharacterSpec> {
  const found = new Map<string, CharacterSpec>();
  for (const text of texts) {
    const [id, spec] = parseChardev(text);
    if (found.has(id)) throw new UsageError(`-chardev ${text}: another has the id '${id}'; give one another id`);
    found.set(id, spec);
  }
  return found;
}

function unknownCharacterDevice(name: string): UsageError {
  const known = ['stdio', 'file', 'null', 'pty', 'socket'];
  const near = nearestName(name, known);
  return new UsageError(`-chardev ${name}: no such character device; ${near ? `the nearest is '${near}'` : `there are ${known.join(', ')}`}`);
}

/** Looks a `-chardev` up by its id. */
export function namedCharacterDevice(option: string, id: string, named: NamedCharacters): CharacterSpec {
  const spec = named.get(id);
  if (spec !== undefined) return spec;
  throw new UsageError(
    `${option}: no -chardev has the id '${id}'; ${named.size > 0 ? `there are ${[...named.keys()].join(', ')}` : `add -chardev stdio,id=${id}`}`,
  );
}

const SOCKET_KEYS: readonly string[] = ['server', 'wait', 'nowait', 'nodelay'];

/** What is said of a socket beside its address. */
export function socketSpec(option: string, address: SocketAddress, values: ReadonlyMap<string, string>, serverUnlessTold: boolean): SocketSpec {
  const flag = (key: string, otherwise: boolean): boolean => (values.has(key) ? parseSwitch(`${option} ${key}`, values.get(key)!) : otherwise);
  const server = flag('server', serverUnlessTold);
  return { kind: 'socket', address, server, wait: server && flag('wait', values.has('server') && !values.has('nowait')) };
}

/** Parses the values of `-chardev socket,id=ID,path=PATH|host=HOST,port=PORT[,server=on][,wait=off]`. */
function parseSocket(text: string, values: ReadonlyMap<string, string>): SocketSpec {
  assertKeys('-chardev socket', values, ['id', 'path', 'host', 'port', ...SOCKET_KEYS, 'ipv4', 'ipv6', 'to', 'reconnect']);
  const path = values.get('path');
  const port = values.get('port');
  if (path === undefined && port === undefined) throw new UsageError(`-chardev ${text}: write path=PATH, or host=HOST,port=PORT`);
  const address = path === undefined ? { host: values.get('host') ?? '', port: parseInteger('-chardev port', port!, 0, 65535) } : { path };
  return socketSpec('-chardev', address, values, false);
}
