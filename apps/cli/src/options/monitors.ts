import { UsageError } from '../errors.js';
import { parseAddress } from '../migration/socket.js';
import { type NamedCharacters, type PtySpec, type SocketSpec, socketSpec } from './character.js';
import type { RawOptions } from './parse.js';
import { assertKeys, parseProperties } from './text.js';

/** Where a monitor is: the terminal, a pseudo-terminal, or a socket that it listens on or connects to. */
export type MonitorPlace = { readonly kind: 'stdio' } | PtySpec | SocketSpec;

/** One monitor, for people or for programs (QMP). */
export interface MonitorSpec {
  readonly protocol: 'monitor' | 'qmp';
  /** The option that it comes from, for messages. */
  readonly option: string;
  readonly place: MonitorPlace;
}

/** Parses `tcp:HOST:PORT[,server=on|off][,wait=on|off]` and the like; without a word about it, a monitor listens and does not wait. */
function parsePlace(option: string, text: string, chardevs: NamedCharacters): MonitorPlace | undefined {
  if (text === 'none' || text === 'null' || text === 'vc') return undefined;
  if (text === 'stdio') return { kind: 'stdio' };
  if (text === 'pty') return { kind: 'pty', option };
  const chardev = /^chardev:(.+)$/.exec(text);
  if (chardev) return named(option, chardev[1]!, chardevs);
  const { head, values } = parseProperties(text.replace(/^telnet:/, 'tcp:'));
  if (!/^(tcp|unix):/.test(head)) throw new UsageError(`${option} ${text}: not one of stdio, pty, tcp:HOST:PORT, unix:PATH, chardev:ID, none`);
  assertKeys(option, values, ['server', 'wait', 'nowait', 'nodelay']);
  return socketSpec(option, parseAddress(option, head), values, true);
}

function named(option: string, id: string, chardevs: NamedCharacters): MonitorPlace {
  const place = chardevs.get(id);
  if (place?.kind === 'stdio' || place?.kind === 'socket' || place?.kind === 'pty') return place;
  throw new UsageError(`${option}: no -chardev socket, pty or stdio has the id '${id}'; add -chardev socket,id=${id},path=PATH,server=on,wait=off`);
}

/** Every monitor that `-monitor`, `-qmp` and `-mon` ask for; throws `UsageError`. */
export function parseMonitors(raw: RawOptions, chardevs: NamedCharacters): MonitorSpec[] {
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
