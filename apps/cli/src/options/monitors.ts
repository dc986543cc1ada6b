import { UsageError } from '../errors.js';
import { parseAddress, type SocketAddress } from '../migration/socket.js';
import type { RawOptions } from './parse.js';
import { assertKeys, parseInteger, parseProperties, parseSwitch } from './text.js';

/** Where a monitor is: the terminal, or a socket that it listens on or connects to; `wait`: nothing runs before somebody has connected. */
export type MonitorPlace =
  | { readonly kind: 'stdio' }
  | { readonly kind: 'socket'; readonly address: SocketAddress; readonly server: boolean; readonly wait: boolean };

/** One monitor, for people or for programs (QMP). */
export interface MonitorSpec {
  readonly protocol: 'monitor' | 'qmp';
  /** The option that it comes from, for messages. */
  readonly option: string;
  readonly place: MonitorPlace;
}

/** Parses `tcp:HOST:PORT[,server=on|off][,wait=on|off]` and the like; without a word about it, a monitor listens and does not wait. */
function parsePlace(option: string, text: string, chardevs: ReadonlyMap<string, MonitorPlace>): MonitorPlace | undefined {
  if (text === 'none' || text === 'null' || text === 'vc') return undefined;
  if (text === 'stdio') return { kind: 'stdio' };
  const chardev = /^chardev:(.+)$/.exec(text);
  if (chardev) return named(option, chardev[1]!, chardevs);
  const { head, values } = parseProperties(text.replace(/^telnet:/, 'tcp:'));
  if (!/^(tcp|unix):/.test(head)) throw new UsageError(`${option} ${text}: not one of stdio, tcp:HOST:PORT, unix:PATH, chardev:ID, none`);
  assertKeys(option, values, ['server', 'wait', 'nowait', 'nodelay']);
  return socketPlace(option, parseAddress(option, head), values, true);
}

function socketPlace(option: string, address: SocketAddress, values: ReadonlyMap<string, string>, serverUnlessTold: boolean): MonitorPlace {
  const flag = (key: string, otherwise: boolean): boolean => (values.has(key) ? parseSwitch(`${option} ${key}`, values.get(key)!) : otherwise);
  const server = flag('server', serverUnlessTold);
  return { kind: 'socket', address, server, wait: server && flag('wait', values.has('server') && !values.has('nowait')) };
}

function named(option: string, id: string, chardevs: ReadonlyMap<string, MonitorPlace>): MonitorPlace {
  const place = chardevs.get(id);
  if (place) return place;
  throw new UsageError(`${option}: no -chardev socket or stdio has the id '${id}'; add -chardev socket,id=${id},path=PATH,server=on,wait=off`);
}

/** Parses `socket,id=ID,path=PATH|host=HOST,port=PORT[,server=on][,wait=off]`. */
function parseSocket(text: string): MonitorPlace {
  const { values } = parseProperties(text);
  assertKeys('-chardev socket', values, ['id', 'path', 'host', 'port', 'server', 'wait', 'nowait', 'nodelay', 'ipv4', 'ipv6', 'to', 'reconnect']);
  const path = values.get('path');
  const port = values.get('port');
  if (path === undefined && port === undefined) throw new UsageError(`-chardev ${text}: write path=PATH, or host=HOST,port=PORT`);
  const address = path === undefined ? { host: values.get('host') ?? '', port: parseInteger('-chardev port', port!, 0, 65535) } : { path };
  return socketPlace('-chardev', address, values, false);
}

/** True for a `-chardev` that only monitors can use. */
export const isMonitorChardev = (text: string): boolean => text.startsWith('socket,');

function parseChardevs(raw: RawOptions): Map<string, MonitorPlace> {
  const places = new Map<string, MonitorPlace>();
  for (const text of raw.get('chardev') ?? []) {
    const { head, values } = parseProperties(text);
    const id = values.get('id');
    if (id === undefined) continue;
    if (head === 'stdio') places.set(id, { kind: 'stdio' });
    if (head === 'socket') places.set(id, parseSocket(text));
  }
  return places;
}

/** Every monitor that `-monitor`, `-qmp` and `-mon` ask for; throws `UsageError`. */
export function parseMonitors(raw: RawOptions): MonitorSpec[] {
  const chardevs = parseChardevs(raw);
  const specs: MonitorSpec[] = [];
  const add = (protocol: MonitorSpec['protocol'], option: string, place: MonitorPlace | undefined): void => {
    if (place) specs.push({ protocol, option, place });
  };
  for (const text of raw.get('monitor') ?? []) add('monitor', '-monitor', parsePlace('-monitor', text, chardevs));
  for (const text of raw.get('qmp') ?? []) add('qmp', '-qmp', parsePlace('-qmp', text, chardevs));
  for (const text of raw.get('mon') ?? []) {
    const { head, values } = parseProperties(text);
    assertKeys('-mon', values, ['chardev', 'mode', 'pretty']);
    const mode = values.get('mode') ?? 'readline';
    if (mode !== 'readline' && mode !== 'control') throw new UsageError(`-mon mode=${mode}: no such mode; there are readline, control`);
    add(mode === 'control' ? 'qmp' : 'monitor', '-mon', named('-mon', values.get('chardev') ?? head, chardevs));
  }
  if (specs.filter(({ place }) => place.kind === 'stdio').length > 1)
    throw new UsageError('-monitor, -qmp: only one monitor can be on the terminal; put the others on tcp: or unix:');
  return specs;
}
